"""The wall-clock time of a search, and which trials still fit into it."""

import time
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.progress.words import duration
from search.storage import TrialAttribute

# One slow candidate must not use up the budget of the others; its retraining would be slow too.
_TRIAL_SHARE_OF_BUDGET = 0.2
_GRACE_OF_FIRST_TRIALS = 0.5


@dataclass
class SearchTime:
    """The wall-clock time of a search, summed over all starts of the same study.

    `seconds` is the limit, None for no limit; `spent_before` is what earlier starts have used.
    """

    seconds: float | None = None
    spent_before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def begin(self, spent_before: float) -> None:
        """Starts the clock; `spent_before` is the seconds used by earlier starts."""
        self.spent_before = spent_before
        self.started = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds that this and earlier starts have searched."""
        return self.spent_before + time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds left; None without a limit."""
        return None if self.seconds is None else self.seconds - self.spent

    def reason_to_end(self, study: optuna.Study) -> str | None:
        """Returns why no trial that starts now can become the winner; None if one can."""
        left = self.left
        if left is None:
            return None
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        seconds = [float(trial.user_attrs.get(TrialAttribute.SECONDS, 0)) for trial in complete]
        trained = [spent for spent, one in zip(seconds, complete, strict=True) if _trained(one)]
        quickest = min(trained, default=0.0)
        if left > quickest:
            return None
        if left <= 0:
            return "the budget is over"
        return (
            f"{duration(left)} of the budget are left and the quickest complete trial took "
            f"{duration(quickest)}: no further trial starts"
        )

    def reason_to_stop(self, study: optuna.Study, *, first: bool = False) -> str | None:
        """Returns why a running trial has to stop; None if it may continue.

        It continues while no trial is complete, because a search without a winner is wasted time.
        One of the study's `first` trials, which are known to be good, may take up to half of the
        budget in addition.
        """
        left = self.left
        if left is None or not any_complete(study):
            return None
        if left > (-_GRACE_OF_FIRST_TRIALS * (self.seconds or 0.0) if first else 0.0):
            return None
        return f"the search's budget of {self.seconds:g} s is over"

    def most_trial_seconds(self, study: optuna.Study) -> float | None:
        """Returns how long one trial may take, once a winner exists."""
        if self.seconds is None or not any_complete(study):
            return None
        return self.seconds * _TRIAL_SHARE_OF_BUDGET


def any_complete(study: optuna.Study) -> bool:
    """Returns whether a study has a complete trial."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def _trained(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED))
