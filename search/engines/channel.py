"""The connection between a worker process and its supervisor."""

import os
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Literal, TypeAlias

from search.engines.messages import LogPosition, Message, SignOfLife
from search.progress.events import Event, Progress, TrialAdvanced, TrialStarted
from search.system.interruption import Interruption

Command: TypeAlias = Literal["go", "leave", "stop"]

_PROGRESS_SECONDS = 0.25


class Commands:
    """Receives the supervisor's commands; if the supervisor dies, the worker shuts down cleanly.

    "stop" asks the running trial to stop; "leave" lets it finish first. `orphaned` is called in a
    thread when the supervisor has died, because nothing else would end a worker that hangs.
    """

    def __init__(
        self,
        connection: Connection,
        interruption: Interruption,
        *,
        orphaned: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._interruption = interruption
        self._orphaned = orphaned
        self._go = threading.Event()
        self.leaving = False
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def wait_for_go(self) -> None:
        """Blocks until "go", or until the worker must leave."""
        self._go.wait()

    def _listen(self) -> None:
        while True:
            try:
                command: Command | None = self._connection.recv()
            except (EOFError, OSError):
                command = None
            if command != "go":
                self.leaving = True
            if command in ("stop", None):
                self._interruption.requested = True
            self._go.set()
            if command is None:
                self._orphaned()
                return


class ChannelProgress(Progress):
    """Sends progress events to the supervisor, which displays them.

    `log` is the file descriptor of this process's log. With it, the supervisor also receives the
    log's size at the start of each trial: when the event itself arrives, the log may have grown.
    """

    def __init__(self, connection: Connection, *, log: int | None = None) -> None:
        self._connection = connection
        self._log = log
        self._lock = threading.Lock()
        self._last_progress = 0.0

    def send(self, message: Message) -> None:
        """Sends a message; does nothing if the supervisor has died."""
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                return

    def sign_of_life(self) -> None:
        """Sends a heartbeat, unless one or a progress event was sent less than 0.25 s ago."""
        if self._is_due():
            self.send(SignOfLife())

    def handle(self, event: Event) -> None:
        if isinstance(event, TrialStarted) and self._log is not None:
            self.send(LogPosition(os.fstat(self._log).st_size))
        if not isinstance(event, TrialAdvanced) or self._is_due():
            self.send(event)

    def _is_due(self) -> bool:
        due = time.monotonic() - self._last_progress >= _PROGRESS_SECONDS
        if due:
            self._last_progress = time.monotonic()
        return due
