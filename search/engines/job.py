"""The job that a supervisor sends to a worker."""

from dataclasses import dataclass

from search.trials.experiment import Experiment
from search.trials.lease import LEASE_SECONDS


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """An experiment to work on, with this worker's share of the time and the memory.

    Attributes:
        experiment: The experiment whose trials the worker runs.
        search_seconds: Wall-clock time of the search; None for no limit.
        spent_seconds: Search time already spent when the worker starts.
        memory_bytes: The worker's share of the device memory; None for all free memory.
        lease_seconds: How long the worker keeps its trials without a heartbeat.
    """

    experiment: Experiment
    search_seconds: float | None = None
    spent_seconds: float = 0.0
    memory_bytes: int | None = None
    lease_seconds: float = LEASE_SECONDS
