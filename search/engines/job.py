"""What one worker gets from its supervisor."""

from dataclasses import dataclass

from search.trials.experiment import Experiment
from search.trials.lease import LEASE_SECONDS


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """An experiment to work on, and this worker's part of the time and the memory.

    Attributes:
        experiment: What to work on.
        search_seconds: The search's wall-clock time; None for no limit.
        spent_seconds: How much of it was over when the worker was started.
        memory_bytes: The worker's part of the device's memory; None for all that is free.
        lease_seconds: How long its trials stay its own without a heartbeat.
    """

    experiment: Experiment
    search_seconds: float | None = None
    spent_seconds: float = 0.0
    memory_bytes: int | None = None
    lease_seconds: float = LEASE_SECONDS
