"""Keeps an engine's workers running: the supervisor loop that all engines share."""

import contextlib
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from search.engines.channel import Command
from search.engines.job import WorkerJob
from search.engines.supervision import Supervision
from search.engines.worker import SECONDS_TO_STOP
from search.engines.workers import WorkerLimits
from search.errors import SearchInterrupted
from search.trials.session import Session

SECONDS_BETWEEN_LOOKS = 1.0
# After a longer gap between two checks, assume that this process and its workers were suspended.
_SECONDS_SUSPENDED = 30.0


class PoolWorker(ABC):
    """The supervisor's view of a worker; `heard` is the monotonic time in s of its last message."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self.has_begun = self.stalled = False
        self.heard = time.monotonic()

    @abstractmethod
    def command(self, command: Command) -> None:
        """Sends the worker a command; does nothing if the worker has died."""

    @abstractmethod
    def kill(self) -> None:
        """Kills the worker."""

    @abstractmethod
    def close(self) -> None:
        """Waits until a killed worker has exited, and releases its resources."""


_Worker = TypeVar("_Worker", bound=PoolWorker)


class WorkerPool(ABC, Generic[_Worker]):
    """Keeps workers running until no more trials are needed."""

    def __init__(
        self,
        session: Session,
        job: WorkerJob,
        *,
        limits: WorkerLimits,
    ) -> None:
        self._supervision = Supervision(session, job, limits=limits)
        self._interruption = session.interruption
        self._limits = limits
        self._workers: list[_Worker] = []
        self._looked = 0.0
        self._watched = 0

    def run(self) -> None:
        """Supervises workers until the number of trials or the budget is reached.

        Raises SearchInterrupted after Ctrl-C, once all workers have stopped cleanly; UserError or
        SearchFailure if workers cannot work at all.
        """
        with self._interruption.deferred(), self._all_ended():
            while not self._interruption.requested:
                if self._look_around():
                    left = self._supervision.work_left()
                    if left.may_start:
                        self._start_missing()
                    else:
                        self._withdraw_unplaced()
                        if not self._workers and self._supervision.is_over(left):
                            return
                if self._workers:
                    self._receive()
                else:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
            self._stop()
            raise SearchInterrupted

    @abstractmethod
    def _start_missing(self) -> None:
        """Starts the workers that are missing from the wanted number."""

    @abstractmethod
    def _receive(self) -> None:
        """Reads messages from workers; waits for one until the next check at most."""

    @abstractmethod
    def _look_after(self, worker: _Worker, *, silent: float) -> None:
        """Checks on a worker that has sent nothing for `silent` seconds."""

    def _withdraw_unplaced(self) -> None:
        """Withdraws workers that are not placed yet, when there is no work left for them."""

    def _end_stalled(self, worker: _Worker) -> None:
        worker.stalled = True
        worker.kill()

    def _look_around(self) -> bool:
        """Checks on the workers if it is time; returns whether it did.

        Not on every pass of the loop, because each check reads all trials.
        """
        now = time.monotonic()
        since = now - self._looked
        # If a worker has just exited, check at once: its place is free.
        if since < SECONDS_BETWEEN_LOOKS and len(self._workers) == self._watched:
            return False
        self._looked = now
        self._supervision.recover({worker.name for worker in self._workers})
        for worker in list(self._workers):
            if since > _SECONDS_SUSPENDED:
                worker.heard = min(now, worker.heard + since)
            self._look_after(worker, silent=now - worker.heard)
        self._watched = len(self._workers)
        return True

    def _stop(self) -> None:
        """Lets the running trials save their state, so that they can be continued later."""
        self._withdraw_unplaced()
        for worker in self._workers:
            worker.command("stop")
        deadline = time.monotonic() + SECONDS_TO_STOP
        while self._workers and time.monotonic() < deadline:
            self._receive()

    @contextmanager
    def _all_ended(self) -> Iterator[None]:
        """Ends all workers when the block exits, even on an error."""
        try:
            yield
        finally:
            for worker in self._workers:
                with contextlib.suppress(Exception):
                    worker.kill()
            for worker in self._workers:
                worker.close()
                self._supervision.interrupt_trials(worker.name)
