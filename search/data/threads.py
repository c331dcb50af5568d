"""Processes many files in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_CHUNK = 64


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Maps `work` over items in threads; yields the results in order and buffers only a few.

    Pillow releases the GIL while it decodes, so photos use every core. Tiny images gain nothing;
    chunks keep the thread overhead from slowing them down. Processes would be faster for them, but
    starting processes re-imports the user's script.
    """
    items = list(items)
    workers = os.cpu_count() or 1
    chunks = (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
    waiting: deque[Future[list[R]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for chunk in chunks:
            waiting.append(pool.submit(lambda part: [work(item) for item in part], chunk))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
