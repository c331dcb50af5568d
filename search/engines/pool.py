"""Keeps an engine's workers at work: the loop of every engine's supervisor."""

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
# After such a gap between two looks, this process and most likely its workers were suspended.
_SECONDS_SUSPENDED = 30.0


class PoolWorker(ABC):
    """A worker, as its supervisor sees it; it was last `heard` at a monotonic time in seconds."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self.has_begun = self.stalled = False
        self.heard = time.monotonic()

    @abstractmethod
    def command(self, command: Command) -> None:
        """Tells the worker what to do; one that has died is not told."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the worker at once."""

    @abstractmethod
    def close(self) -> None:
        """Waits for the end of a worker that was killed, and forgets it."""


_Worker = TypeVar("_Worker", bound=PoolWorker)


class WorkerPool(ABC, Generic[_Worker]):
    """Keeps workers running, until no trial is wanted any more."""

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
        """Works until the total or the budget is reached.

        Raises SearchInterrupted after Ctrl-C, when all workers have stopped in order; UserError and
        SearchFailure for what keeps workers from working at all.
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
        """Starts as many workers as are wanted beside those that run."""

    @abstractmethod
    def _receive(self) -> None:
        """Reads what workers say, or waits for it until the next look around."""

    @abstractmethod
    def _look_after(self, worker: _Worker, *, silent: float) -> None:
        """Looks after a worker that has been silent for so many seconds."""

    def _withdraw_unplaced(self) -> None:
        """Withdraws what still waits for a place, when there is nothing left to do there."""

    def _end_stalled(self, worker: _Worker) -> None:
        worker.stalled = True
        worker.kill()

    def _look_around(self) -> bool:
        """Looks after the workers now and then, for that costs a look at all trials."""
        now = time.monotonic()
        since = now - self._looked
        # A worker that has just gone leaves a place.
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
        """Lets the running trials write what they have, so that they can go on later."""
        self._withdraw_unplaced()
        for worker in self._workers:
            worker.command("stop")
        deadline = time.monotonic() + SECONDS_TO_STOP
        while self._workers and time.monotonic() < deadline:
            self._receive()

    @contextmanager
    def _all_ended(self) -> Iterator[None]:
        """Leaves no worker behind, whatever happens."""
        try:
            yield
        finally:
            for worker in self._workers:
                with contextlib.suppress(Exception):
                    worker.kill()
            for worker in self._workers:
                worker.close()
                self._supervision.interrupt_trials(worker.name)
