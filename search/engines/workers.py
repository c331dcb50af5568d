"""Which workers run a search's trials: processes on this machine, or actors on a Ray cluster."""

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cnn_blocks.errors import UserError
from search.trials.attempts import DEFAULT_RETRIES
from search.trials.lease import LEASE_SECONDS

DEFAULT_STALL_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """When a worker is replaced, and when its trial fails.

    Training frameworks keep some memory of every network. A worker is therefore also replaced after
    `trials_each` trials, or if it holds more than `memory_mib` after a trial; it leaves once its
    successor is ready.

    Attributes:
        retries: A trial fails after more than this many deaths without progress.
        stall_seconds: A worker that has sent nothing for this long is killed.
        lease_seconds: A worker that is suspended or on another machine loses its trial after this
            time without a heartbeat.
        trials_each: Trials after which a worker is replaced.
        memory_mib: Memory in MiB above which a worker is replaced; None derives it from the
            worker's share of the machine's memory.
    """

    retries: int = DEFAULT_RETRIES
    stall_seconds: float = DEFAULT_STALL_SECONDS
    lease_seconds: float = LEASE_SECONDS
    trials_each: int = 100
    memory_mib: int | None = None


@dataclass(frozen=True, kw_only=True)
class LocalWorkers:
    """Worker processes on this machine.

    Attributes:
        number: Number of workers. "auto" measures which number trains fastest; 0 trains in the
            calling process.
        limits: When a worker is replaced.

    Raises UserError for a negative number.
    """

    number: int | Literal["auto"] = "auto"
    limits: WorkerLimits = field(default_factory=WorkerLimits)

    def __post_init__(self) -> None:
        if self.number != "auto" and self.number < 0:
            raise UserError(
                f"Workers must be 0 or more, or 'auto'; received {self.number}. Fix: use 0 to "
                f"train in this process."
            )


@dataclass(frozen=True, kw_only=True)
class RayWorkers:
    """Workers on a Ray cluster.

    Attributes:
        number: Number of workers. "auto" uses as many as fit on the nodes, and more when nodes
            join.
        limits: When a worker is replaced.
        address: HOST:PORT of a running cluster; None uses RAY_ADDRESS if set, else the cluster that
            runs on this machine.
        cpus: CPUs per worker; may be a fraction.
        gpus: GPUs per worker: a fraction of one GPU, or a whole number.

    Raises UserError for a number, CPUs or GPUs that Ray could not place.
    """

    number: int | Literal["auto"] = "auto"
    limits: WorkerLimits = field(default_factory=WorkerLimits)
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.number != "auto" and self.number < 1:
            raise UserError(
                f"The engine 'ray' trains in workers, not in this process; received {self.number} "
                f"workers. Fix: use a number above 0, or auto for as many as fit on the cluster."
            )
        if not 0 < self.cpus < math.inf:
            raise UserError(
                f"--cpus-each must be a number above 0; received {self.cpus:g}. Fix: use a number "
                f"such as 0.5 or 4."
            )
        whole = 1 < self.gpus < math.inf and self.gpus == int(self.gpus)
        if not (0 <= self.gpus <= 1 or whole):
            raise UserError(
                f"--gpus-each must be a fraction of one GPU or a whole number of GPUs; received "
                f"{self.gpus:g}. Fix: use a number such as 0.25 or 2."
            )


Workers: TypeAlias = LocalWorkers | RayWorkers


def workers_of(workers: "Workers | int | Literal['auto']") -> Workers:
    """Returns workers; a bare number or "auto" means worker processes on this machine."""
    if isinstance(workers, LocalWorkers | RayWorkers):
        return workers
    return LocalWorkers(number=workers)
