"""When to replace a worker: training frameworks keep some memory of every network."""

import psutil

from search.engines.workers import WorkerLimits
from search.training.feasibility import MEBIBYTE

# A worker is replaced if it holds more than this part of its share of the memory after a trial.
_SHARE_HELD = 0.25
# With a small share that would replace workers after every trial. So a worker may always hold this
# many times what it held when it was ready.
_LEAST_GROWTH = 2


def is_spent(
    limits: WorkerLimits, *, trials: int, holds: int, held_when_ready: int, share: int
) -> bool:
    """Returns whether to replace a worker that has run `trials` trials.

    `holds`, `held_when_ready` and `share` are bytes of the machine's memory, not of a GPU's.
    """
    most = max(int(share * _SHARE_HELD), _LEAST_GROWTH * held_when_ready)
    if limits.memory_mib is not None:
        most = limits.memory_mib * MEBIBYTE
    return trials > 0 and (trials >= limits.trials_each or holds > most)


def own_memory(process_id: int | None = None) -> int:
    """Returns the bytes of unshared memory of a process, by default this one; 0 if it has ended.

    Images and features do not count: they are memory-mapped or in Ray's object store, and shared.
    """
    try:
        held = psutil.Process(process_id).memory_info()
    except psutil.Error:
        return 0
    return int(held.rss - getattr(held, "shared", 0))
