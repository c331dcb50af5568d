"""What a worker needs to know, as data that can be sent to another process or machine."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle

from cnn_blocks.errors import UserError
from cnn_blocks.source_files import load_source
from search.data.source import DataSource
from search.sizing.time_plan import TimePlan
from search.system.runtime import Precision, Xla
from search.trials.attempts import DEFAULT_RETRIES
from search.trials.lease import LEASE_SECONDS
from studies.study import LoadedStudy, StudySpec

if TYPE_CHECKING:
    from search.data import Split

DEFAULT_STALL_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """A study to work on.

    Of `budget_seconds` `budget_spent` are over when the worker starts; `spec` is the pickled study,
    which `source` must be imported for: `source_texts` is what that file and the modules beside it
    say, for a machine that may not have them. `plan` divides the time. `memory_bytes` is the
    worker's share of the machine's memory. Checkpoints are also kept in `artifacts`, where that is
    said.
    """

    study_name: str
    storage: str
    spec: bytes
    source: str | None
    data: DataSource
    data_fingerprint: str
    metric: str
    seed: int
    trials: int
    checkpoints: Path
    budget_seconds: float | None = None
    budget_spent: float = 0.0
    precision: Precision = "auto"
    xla: Xla = "auto"
    cache_limit: int | None = None
    memory_bytes: int | None = None
    plan: TimePlan = field(default_factory=TimePlan)
    lease_seconds: float = LEASE_SECONDS
    artifacts: str | None = None
    source_texts: Mapping[str, str] | None = None

    def load_study(self) -> StudySpec:
        """Returns the study; a person's own file is imported first."""
        if self.source is not None:
            load_source(self.source, texts=self.source_texts)
        spec: StudySpec = cloudpickle.loads(self.spec)
        return spec

    def load_split(self) -> "Split":
        """Loads the images, from the cache where they are prepared already."""
        from search.data import split_data

        dataset = self.data.load()
        if dataset.fingerprint != self.data_fingerprint:
            raise UserError(
                f"All workers must read the same images; {self.data.location} on "
                f"{socket.gethostname()} differs from the study's. Restore it, or name a folder "
                f"with --data that all machines share."
            )
        return split_data(dataset, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """When a worker is replaced.

    After `retries` deaths a trial has failed. A worker without a sign of life for `stall_seconds`
    is ended. One that is suspended, or on another machine, and has let `lease_seconds` pass without
    a beat, loses its trial to the others. One that has run `trials_each` trials, or holds more than
    `memory_mib` after one, leaves once the next one is ready: training frameworks keep a little of
    every network.
    """

    retries: int = DEFAULT_RETRIES
    stall_seconds: float = DEFAULT_STALL_SECONDS
    lease_seconds: float = LEASE_SECONDS
    trials_each: int = 100
    memory_mib: int | None = None


def pickle_spec(loaded: LoadedStudy) -> bytes:
    """Returns a study as bytes: functions of modules by name, those of a prompt by value."""
    pickled: bytes = cloudpickle.dumps(loaded.spec)
    return pickled
