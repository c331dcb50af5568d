"""Measures the time of named, nested activities."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

Activity: TypeAlias = Literal[
    "training",
    "validation",
    "compiling",
    "data",
    "features",
    "checkpoints",
    "storage",
    "sampling",
    "other",
]


class Clock:
    """Counts the seconds of each activity; an outer activity's time excludes the inner ones."""

    def __init__(self) -> None:
        self.seconds: dict[Activity, float] = defaultdict(float)
        self._stack: list[Activity] = []
        self._since = time.perf_counter()

    @contextmanager
    def measure(self, activity: Activity) -> Iterator[None]:
        """Attributes the time inside the block to an activity."""
        self.enter(activity)
        try:
            yield
        finally:
            self.leave()

    def enter(self, activity: Activity) -> None:
        """Starts an activity; `leave` ends it."""
        self._settle()
        self._stack.append(activity)

    def leave(self) -> None:
        """Ends the innermost activity and resumes the one around it."""
        self._settle()
        self._stack.pop()

    def shares(self) -> list[tuple[Activity, float, float]]:
        """Returns (activity, seconds, fraction of the total in 0..1), longest first."""
        whole = sum(self.seconds.values()) or 1.0
        rows = [(name, spent, spent / whole) for name, spent in self.seconds.items()]
        return sorted(rows, key=lambda row: -row[1])

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now
