"""Ctrl-C and SIGTERM: the first signal stops cleanly, the second at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from search.errors import SearchInterrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Raises `SearchInterrupted` at a safe point after the first signal; exits at the second.

    Inside `deferred()` the first signal only sets `requested`, and `check()` raises, so that no
    transaction or checkpoint is interrupted halfway. Elsewhere the signal raises immediately.
    Outside the main thread, where Python allows no signal handlers, this does nothing.
    `restore_terminal` is called before the second signal ends the process.
    """

    def __init__(
        self,
        *,
        restore_terminal: Callable[[], None] | None = None,
        signals: Sequence[signal.Signals] = SIGNALS,
    ) -> None:
        self.requested = False
        self._signalled = False
        self._signals = signals
        self._deferred = False
        self._restore_terminal = restore_terminal
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets the first signal only set `requested` inside the block."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raises SearchInterrupted if a stop was requested."""
        if self.requested:
            raise SearchInterrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Not `requested`: a message from the supervisor sets that without a signal.
        if self._signalled:
            if self._restore_terminal is not None:
                self._restore_terminal()
            os._exit(128 + number)
        self._signalled = self.requested = True
        if not self._deferred:
            raise SearchInterrupted
