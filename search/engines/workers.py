"""Which workers run a search's trials: processes of this machine, or actors on a Ray cluster."""

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cnn_blocks.errors import UserError
from search.trials.attempts import DEFAULT_RETRIES
from search.trials.lease import LEASE_SECONDS

DEFAULT_STALL_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """When a worker is replaced.

    Training frameworks keep a little memory of every network, so a worker also leaves after
    `trials_each` trials, or when it holds more than `memory_mib` after one; it leaves once its
    successor is ready.

    Attributes:
        retries: A trial that has died more often than this without progress has failed.
        stall_seconds: A worker that has sent nothing for so long is killed.
        lease_seconds: A suspended worker, or one on another machine, loses its trial to the others
            after this time without a heartbeat.
        trials_each: Trials before a worker is replaced.
        memory_mib: Memory in MiB above which it is replaced; None for its part of the machine's.
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
        number: How many; "auto" measures how many train fastest, 0 trains in the command's own
            process.
        limits: When one is replaced.

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
        number: How many; "auto" takes as many as fit on the nodes, and more when nodes join.
        limits: When one is replaced.
        address: HOST:PORT of a running cluster; None for the one that RAY_ADDRESS names, else the
            one that runs on this machine.
        cpus: CPUs of each worker, fractions too.
        gpus: GPUs of each worker: a fraction of one, or a whole number.

    Raises UserError for what Ray could not place.
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
                f"workers. Fix: name a number above 0, or auto for as many as the cluster has room "
                f"for."
            )
        if not 0 < self.cpus < math.inf:
            raise UserError(
                f"--cpus-each must be a number above 0, such as 0.5 or 4; received {self.cpus:g}."
            )
        whole = 1 < self.gpus < math.inf and self.gpus == int(self.gpus)
        if not (0 <= self.gpus <= 1 or whole):
            raise UserError(
                f"--gpus-each must be a fraction of one GPU, such as 0.25, or a whole number of "
                f"them; received {self.gpus:g}."
            )


Workers: TypeAlias = LocalWorkers | RayWorkers


def workers_of(workers: "Workers | int | Literal['auto']") -> Workers:
    """Returns workers; a bare number or "auto" is that many on this machine."""
    if isinstance(workers, LocalWorkers | RayWorkers):
        return workers
    return LocalWorkers(number=workers)
