"""Locks between processes; the system frees that of a process that dies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_BETWEEN_WAITS = 0.25


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Yields whether this process is the only one in such a block; the others are told at once.

    Where the file system has no locks each is taken for the only one.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):
        yield True
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def one_at_a_time(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Lets one process at a time into such a block.

    `waiting` is called now and then until it is this one's turn; it may raise. Where the file
    system has no locks nobody waits.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False)
    while True:
        try:
            lock.acquire(timeout=_SECONDS_BETWEEN_WAITS)
        except Timeout:
            waiting()
            continue
        except (OSError, NotImplementedError):
            yield
            return
        break
    try:
        yield
    finally:
        lock.release()
