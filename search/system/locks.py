"""Locks between processes; the operating system releases the locks of a dead process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_BETWEEN_WAITS = 0.25


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Yields True to one process at a time and False to others, without waiting.

    If the file system has no locks, every process gets True.
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
    """Lets one process at a time run the block.

    `waiting` is called repeatedly while this process waits; it may raise. If the file system has
    no locks, no process waits.
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
