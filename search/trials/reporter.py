"""What happens inside a trial's training, passed on to the study and the screen."""

import statistics
import time
from collections.abc import Mapping

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from cnn_blocks.errors import InfeasibleError
from search.progress.events import TrialAdvanced
from search.storage import TrialAttribute
from search.training.listener import Listener
from search.training.result import Report
from search.trials.checkpoints import shared_name
from search.trials.context import TrialContext
from search.trials.pruning import should_prune
from spaces.candidate import Candidate

# After so long, start-up no longer distorts how fast a training seems to be.
_PACE_SECONDS = 10.0
_SECONDS_BETWEEN_SHARED = 60.0
# A trial that has trained so much of its length is worth more finished than ended.
_NEARLY_DONE = 0.9


class StopTrial(Exception):
    """Ends a trial as pruned, with a reason."""


def share_checkpoint(trial: optuna.Trial, context: TrialContext) -> None:
    """Sends a trial's checkpoint to where other machines find it, if there is such a place."""
    if context.shared is not None:
        folder = context.checkpoints / f"trial_{trial.number}"
        with context.clock.measure("checkpoints"):
            frozen = trial.storage.get_trial(trial._trial_id)
            context.shared.push(folder, shared_name(trial.study, frozen))


def remember_candidate(trial: optuna.Trial, candidate: Candidate, context: TrialContext) -> None:
    """Stores what a trial trains, from which it can be rebuilt."""
    with context.clock.measure("storage"):
        trial.set_user_attr(TrialAttribute.CANDIDATE, candidate.to_json())
        trial.set_user_attr(TrialAttribute.SUMMARY, candidate.summary())


class TrialReporter(Listener):
    """Receives the reports and the progress of one trial's training; it may end it."""

    def __init__(self, trial: optuna.Trial, candidate: Candidate, context: TrialContext) -> None:
        self._trial = trial
        self._context = context
        timed = context.plan.trial_seconds is not None
        self._follow(candidate)
        self._paced_from: tuple[float, float] | None = None
        # Where the plan gives every trial the same time none can take too much.
        self._pace_is_known = timed
        self._shared_at = time.monotonic()
        frozen = trial.storage.get_trial(trial._trial_id)
        self._is_first = "fixed_params" in frozen.system_attrs
        self._reported = set(frozen.intermediate_values)
        self._checkpoint_step = int(frozen.user_attrs.get(TrialAttribute.CHECKPOINT_STEP, 0))

    def on_length(self, candidate: Candidate) -> None:
        remember_candidate(self._trial, candidate, self._context)
        self._follow(candidate)

    def _follow(self, candidate: Candidate) -> None:
        """Counts the reports of a candidate as long as this."""
        training, plan = candidate.training, self._context.plan
        timed = plan.trial_seconds is not None
        intervals = plan.intervals if timed else training.epochs
        each = 1 if timed else self._context.spec.reports_per_epoch
        self._last_step = intervals * each
        self._head_steps = training.head_intervals(intervals) * each

    def on_progress(self, epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        self._context.interruption.check()
        if self._context.lease is not None and self._context.lease.lost:
            raise UpdateFinishedTrialError(f"Another process ended trial {self._trial.number}.")
        self._check_pace(epoch, epochs)
        self._check_time(epoch, epochs)
        self._context.progress.handle(
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
        most, needed = self._context.most_trial_seconds(), elapsed / trained * epochs
        if most is not None and needed > most:
            raise InfeasibleError(
                f"A trial may take a fifth of the search's budget, {most:.0f} s; this one would "
                f"need about {needed:.0f} s.",
                constraint="seconds",
            )

    def _check_time(self, epoch: float, epochs: float) -> None:
        """Ends a trial whose search is over, unless it is about to end by itself."""
        if epoch / epochs < _NEARLY_DONE:
            reason = self._context.stop_reason(self._is_first)
            if reason is not None:
                raise StopTrial(f"{reason}, at epoch {epoch:g}")

    def on_report(self, report: Report) -> None:
        step = report.step
        if step in self._reported:
            # A continued training repeats its reports; they were judged when they were new.
            return
        self._reported.add(step)
        self._share_checkpoint()
        value = float(report.metrics[f"val_{self._context.metric}"])
        # While the head trains alone a value says little about the whole: pruners never see it, so
        # that none compares it with another trial's fine-tuning.
        comparable = step > self._head_steps
        with self._context.clock.measure("storage"):
            if comparable:
                self._trial.report(value, step)
            self._trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, round(report.epoch, 3))
        self._context.interruption.check()
        if step >= self._last_step:
            return  # All epochs are paid for: the value is worth more than pruning.
        with self._context.clock.measure("storage"):
            if comparable and should_prune(self._trial):
                raise StopTrial(self._pruning_reason(report.epoch, step, value))
        reason = self._context.stop_reason(self._is_first)
        if reason is not None:
            raise StopTrial(f"{reason}, at epoch {report.epoch:g}")

    def on_checkpoint(self, step: int) -> None:
        """Stores how far the candidate's checkpoints have come, over all attempts.

        An attempt that began without them, on another machine, has to come further than that.
        """
        if step > self._checkpoint_step:
            self._checkpoint_step = step
            with self._context.clock.measure("storage"):
                self._trial.set_user_attr(TrialAttribute.CHECKPOINT_STEP, step)

    def on_warning(self, text: str) -> None:
        self._trial.set_user_attr(TrialAttribute.WARNING, text)
        self._context.progress.warning(f"trial {self._trial.number}: {text}")

    def _share_checkpoint(self) -> None:
        """Sends the checkpoint that was written just before this report, not all too often."""
        shared, now = self._context.shared, time.monotonic()
        if shared is not None and now - self._shared_at >= _SECONDS_BETWEEN_SHARED:
            self._shared_at = now
            share_checkpoint(self._trial, self._context)

    def _pruning_reason(self, epoch: float, step: int, value: float) -> str:
        study, metric = self._trial.study, self._context.metric
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
