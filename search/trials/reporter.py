"""Passes the events of a trial's training on to the study and the progress display."""

import statistics
import time
from collections.abc import Mapping

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from cnn_blocks.errors import InfeasibleError
from search.progress.events import TrialAdvanced
from search.storage.attributes import TrialAttribute, set_trial_attribute
from search.training.listener import Listener
from search.training.result import ValidationReport
from search.trials.checkpoints import shared_name
from search.trials.lease import Lease
from search.trials.pruning import should_prune
from search.trials.session import Session
from spaces.candidate import Candidate

# Seconds after which start-up no longer distorts the measured speed.
_PACE_SECONDS = 10.0
_SECONDS_BETWEEN_SHARED = 60.0
# A trial that has trained this fraction of its length is finished rather than ended.
_NEARLY_DONE = 0.9


class StopTrial(Exception):
    """Ends a trial as pruned, with a reason."""


def share_checkpoint(trial: optuna.Trial, session: Session) -> None:
    """Copies a trial's checkpoint to the shared store, if there is one."""
    if session.shared is not None:
        folder = session.experiment.checkpoints / f"trial_{trial.number}"
        with session.clock.measure("checkpoints"):
            frozen = trial.storage.get_trial(trial._trial_id)
            session.shared.push(folder, shared_name(trial.study, frozen))


def remember_candidate(trial: optuna.Trial, candidate: Candidate, session: Session) -> None:
    """Stores the candidate of a trial, from which its network can be rebuilt."""
    with session.clock.measure("storage"):
        set_trial_attribute(
            trial.storage, trial._trial_id, TrialAttribute.CANDIDATE, candidate.to_json()
        )
        trial.set_user_attr(TrialAttribute.SUMMARY, candidate.summary())


class TrialReporter(Listener):
    """Receives the reports and the progress of one trial's training, and may end it."""

    def __init__(
        self,
        trial: optuna.Trial,
        candidate: Candidate,
        session: Session,
        lease: Lease | None = None,
    ) -> None:
        self._trial = trial
        self._session = session
        self._lease = lease
        timed = session.experiment.plan.trial_seconds is not None
        self._follow(candidate)
        self._paced_from: tuple[float, float] | None = None
        # With a time plan every trial has the same time, so none can take too long.
        self._pace_is_known = timed
        self._shared_at = time.monotonic()
        frozen = trial.storage.get_trial(trial._trial_id)
        self._is_first = "fixed_params" in frozen.system_attrs
        self._reported = set(frozen.intermediate_values)
        self._checkpoint_step = int(frozen.user_attrs.get(TrialAttribute.CHECKPOINT_STEP, 0))

    def on_length(self, candidate: Candidate) -> None:
        remember_candidate(self._trial, candidate, self._session)
        self._follow(candidate)

    def _follow(self, candidate: Candidate) -> None:
        """Derives the numbers of reports from the candidate's length."""
        training, plan = candidate.training, self._session.experiment.plan
        timed = plan.trial_seconds is not None
        intervals = plan.intervals if timed else training.epochs
        each = 1 if timed else self._session.spec.reports_per_epoch
        self._last_step = intervals * each
        self._head_steps = training.head_intervals(intervals) * each

    def on_progress(self, epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        self._session.interruption.check()
        if self._lease is not None and self._lease.lost:
            raise UpdateFinishedTrialError(f"Another process ended trial {self._trial.number}.")
        self._check_pace(epoch, epochs)
        self._check_time(epoch, epochs)
        self._session.progress.handle(
            TrialAdvanced(number=self._trial.number, epoch=epoch, epochs=epochs, metrics=metrics)
        )

    def _check_pace(self, epoch: float, epochs: float) -> None:
        now = time.monotonic()
        if self._pace_is_known:
            return
        if self._paced_from is None:
            self._paced_from = now, epoch
            return
        elapsed, trained = now - self._paced_from[0], epoch - self._paced_from[1]
        if elapsed < _PACE_SECONDS or trained <= 0:
            return
        self._pace_is_known = True
        most = self._session.time.most_trial_seconds(self._session.study)
        needed = elapsed / trained * epochs
        if most is not None and needed > most:
            raise InfeasibleError(
                f"A trial may take a fifth of the search's budget, {most:.0f} s; this one would "
                f"need about {needed:.0f} s.",
                constraint="seconds",
            )

    def _reason_to_stop(self) -> str | None:
        return self._session.time.reason_to_stop(self._session.study, first=self._is_first)

    def _check_time(self, epoch: float, epochs: float) -> None:
        """Ends the trial when the search's time is over, unless it is almost finished."""
        if epoch / epochs < _NEARLY_DONE:
            reason = self._reason_to_stop()
            if reason is not None:
                raise StopTrial(f"{reason}, at epoch {epoch:g}")

    def on_report(self, report: ValidationReport) -> None:
        step = report.step
        if step in self._reported:
            # A continued training repeats its reports, which have been judged before.
            return
        self._reported.add(step)
        self._share_checkpoint()
        value = float(report.metrics[f"val_{self._session.experiment.metric}"])
        # While only the head trains, a value says little about the final one. Pruners never see it,
        # so they do not compare it with another trial's fine-tuning.
        comparable = step > self._head_steps
        with self._session.clock.measure("storage"):
            if comparable:
                self._trial.report(value, step)
            self._trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, round(report.epoch, 3))
        self._session.interruption.check()
        if step >= self._last_step:
            return  # All epochs are trained: the value is worth more than pruning.
        with self._session.clock.measure("storage"):
            if comparable and should_prune(self._trial):
                raise StopTrial(self._pruning_reason(report.epoch, step, value))
        reason = self._reason_to_stop()
        if reason is not None:
            raise StopTrial(f"{reason}, at epoch {report.epoch:g}")

    def on_checkpoint(self, step: int) -> None:
        """Stores the step of the candidate's latest checkpoint, over all attempts.

        An attempt on another machine that started without them has to pass it first.
        """
        if step > self._checkpoint_step:
            self._checkpoint_step = step
            with self._session.clock.measure("storage"):
                self._trial.set_user_attr(TrialAttribute.CHECKPOINT_STEP, step)

    def on_warning(self, text: str) -> None:
        self._trial.set_user_attr(TrialAttribute.WARNING, text)
        self._session.progress.warning(f"trial {self._trial.number}: {text}")

    def _share_checkpoint(self) -> None:
        """Copies the latest checkpoint to the shared store, at most once a minute."""
        shared, now = self._session.shared, time.monotonic()
        if shared is not None and now - self._shared_at >= _SECONDS_BETWEEN_SHARED:
            self._shared_at = now
            share_checkpoint(self._trial, self._session)

    def _pruning_reason(self, epoch: float, step: int, value: float) -> str:
        study, metric = self._trial.study, self._session.experiment.metric
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values
            and other.number != self._trial.number
            and other.state is not TrialState.FAIL
        ]
        text = f"{type(study.pruner).__name__} at epoch {epoch:g}: {metric} {value:z.4f}"
        if not others:
            return text
        if len(others) == 1:
            return f"{text}, where the other trial had {others[0]:z.4f}"
        return (
            f"{text}, where {len(others)} other trials had {min(others):z.4f} to "
            f"{max(others):z.4f}, median {statistics.median(others):z.4f}"
        )
