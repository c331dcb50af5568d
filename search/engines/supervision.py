"""The supervisor's work on the study itself, the same for every engine."""

from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction

from cnn_blocks.errors import UserError
from search.engines.job import WorkerJob
from search.engines.messages import (
    CannotWork,
    LogPosition,
    Message,
    Placed,
    Ready,
    SignOfLife,
    TimeSpent,
)
from search.engines.workers import WorkerLimits
from search.errors import SearchFailure
from search.optimize.loop import WorkLeft, remember_seconds, waiting_for, work_left
from search.progress.events import Note, TrialFinished, TrialStarted
from search.storage import TrialAttribute
from search.system.crash import Death
from search.trials.attempts import continue_later, end_crashed, recover_abandoned, trials_of_worker
from search.trials.lease import LeaseWatch
from search.trials.outcomes import Outcome
from search.trials.session import Session


class Supervision:
    """Decides whether work is left, displays workers' messages, ends the trials of dead workers."""

    def __init__(self, session: Session, job: WorkerJob, *, limits: WorkerLimits) -> None:
        self._session = session
        self._study = session.study
        self._job = job
        self._limits = limits
        self._watch = LeaseWatch(seconds=job.lease_seconds)
        self._false_starts = 0
        self._patience = Fraction(1)
        self._noted: set[str] = set()

    def work_left(self) -> WorkLeft:
        """Returns whether another trial may start, and how many are running."""
        return work_left(self._session)

    def is_over(self, left: WorkLeft) -> bool:
        """Returns whether a supervisor without workers may end the search.

        It waits for running trials of other processes, because one of them may become the winner.
        """
        if left.running:
            self.note(waiting_for(left.running))
        return left.is_none

    def job_now(self) -> WorkerJob:
        """Returns the job for a worker that starts now, with the search time spent so far."""
        time = self._session.time
        return replace(self._job, search_seconds=time.seconds, spent_seconds=time.spent)

    def show(self, message: Message) -> None:
        """Displays a worker's message; raises UserError or SearchFailure for CannotWork."""
        match message:
            case TimeSpent(seconds):
                for activity, spent in seconds.items():
                    self._session.clock.seconds[activity] += spent
            case CannotWork(text, is_user_error):
                raise UserError(text) if is_user_error else SearchFailure(text)
            case Note(text, is_warning=False):
                self.note(text)
            case Ready() | SignOfLife() | LogPosition() | Placed():
                pass
            case _:
                if isinstance(message, TrialStarted):
                    self._false_starts, self._patience = 0, Fraction(1)
                if isinstance(message, TrialFinished):
                    remember_seconds(self._session)
                self._session.progress.handle(message)

    def note(self, text: str) -> None:
        """Shows a note once, even if every worker sends it."""
        if text not in self._noted:
            self._noted.add(text)
            self._session.progress.note(text)

    def recover(self, workers: Collection[str]) -> None:
        """Recovers trials that other processes abandoned; `workers` are this process's own."""
        recover_abandoned(
            self._study,
            self._watch,
            retries=self._limits.retries,
            children=workers,
            shared=self._session.shared,
        )

    def end_trials(
        self,
        worker: str,
        *,
        death: Death | None = None,
        cause: str | None = None,
        stalled: bool = False,
    ) -> bool:
        """Ends the trials of a worker that died; returns whether it held any."""
        if stalled:
            cause = f"no sign of life for {self._limits.stall_seconds:g} s, so it was killed"
        held = trials_of_worker(self._study, worker)
        for trial in held:
            outcome = end_crashed(
                self._study,
                trial,
                retries=self._limits.retries,
                death=death,
                cause=cause,
                shared=self._session.shared,
            )
            stored = self._study._storage.get_trial(trial._trial_id)
            self._session.progress.handle(
                TrialFinished(
                    number=trial.number,
                    state=outcome.value,
                    value=None,
                    reason=stored.user_attrs.get(TrialAttribute.REASON),
                    seconds=float(stored.user_attrs.get(TrialAttribute.SECONDS, 0.0)),
                    best_value=None,
                    best_trial=None,
                )
            )
        return bool(held)

    def interrupt_trials(self, worker: str) -> None:
        """Ends the trials of a stopped worker as interrupted, so that they are continued later."""
        for trial in trials_of_worker(self._study, worker):
            continue_later(self._study, trial, Outcome.INTERRUPTED, "interrupted")

    def count_false_start(self, reason: str, *, most: int) -> None:
        """Raises SearchFailure if worker after worker dies before its first trial.

        Before the first trial no candidate can be the cause. Each such death uses up 1/`most` of
        the patience; a trial that starts restores it.
        """
        reason = reason.rstrip(" .\n")
        self._false_starts += 1
        self._patience -= Fraction(1, most)
        if self._patience <= 0 and not self._session.interruption.requested:
            raise SearchFailure(
                f"A worker must start and load the images; {self._false_starts} ended before their "
                f"first trial: {reason}. Fix: run with --workers 0 to see the error here."
            )
