"""Ctrl-C and SIGTERM: the first stops in order, the second at once."""

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
    """Turns the first signal into `SearchInterrupted` at a safe point; the second ends at once.

    Inside `deferred()` the first signal only sets `requested`, and `check()` raises: nothing is
    torn out of a half-written transaction or a checkpoint. Elsewhere it raises where it arrives.
    Outside the main thread (where Python allows no handlers) this does nothing.
    `restore_terminal` is called before the process is ended by the second signal.
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
        """Holds the first signal back until `check()` is called, or the block ends."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raises SearchInterrupted when a signal has arrived."""
        if self.requested:
            raise SearchInterrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # `requested` is also set without a signal, by what a supervisor says.
        if self._signalled:
            if self._restore_terminal is not None:
                self._restore_terminal()
            os._exit(128 + number)
        self._signalled = self.requested = True
        if not self._deferred:
            raise SearchInterrupted
