"""When a worker is spent: training frameworks keep a little of every network."""

import psutil

from search.engines.workers import WorkerLimits
from search.training.feasibility import MEBIBYTE

# Of its share of the memory, a worker may hold so much after a trial before it is replaced.
_SHARE_HELD = 0.25
# A small share must not replace workers after every trial: so many times what one holds from the
# beginning is no growth yet.
_LEAST_GROWTH = 2


def is_spent(
    limits: WorkerLimits, *, trials: int, holds: int, held_when_ready: int, share: int
) -> bool:
    """Returns whether a worker is to be replaced after so many trials.

    `holds`, `held_when_ready` and `share`, all in bytes, are of the machine's memory, not a GPU's.
    """
    most = max(int(share * _SHARE_HELD), _LEAST_GROWTH * held_when_ready)
    if limits.memory_mib is not None:
        most = limits.memory_mib * MEBIBYTE
    return trials > 0 and (trials >= limits.trials_each or holds > most)


def own_memory(process_id: int | None = None) -> int:
    """Returns the bytes that a process, or this one, holds alone; 0 where it has ended.

    Images and features are mapped, or lie in Ray's object store: they are everybody's.
    """
    try:
        held = psutil.Process(process_id).memory_info()
    except psutil.Error:
        return 0
    return int(held.rss - getattr(held, "shared", 0))
