"""The outcomes of trials."""

from collections import Counter
from enum import StrEnum

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.storage import TrialAttribute


class Outcome(StrEnum):
    """The outcome of a trial.

    A later trial continues an interrupted or crashed one; together they count once.
    """

    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"

    @property
    def counts(self) -> bool:
        """Whether such a trial counts towards the total."""
        return self not in (Outcome.INTERRUPTED, Outcome.CRASHED)


# The state is written once, by the process that ends the trial first; the attribute may come from a
# worker that was too late. So the state decides, and the attribute only refines it.
_OUTCOMES_OF_STATE = {
    TrialState.COMPLETE: (Outcome.COMPLETE,),
    TrialState.PRUNED: (Outcome.PRUNED, Outcome.INFEASIBLE),
    TrialState.FAIL: (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.CRASHED),
}


def outcome_of(trial: FrozenTrial) -> Outcome:
    """Returns the outcome of a finished trial."""
    possible = _OUTCOMES_OF_STATE[trial.state]
    stored = trial.user_attrs.get(TrialAttribute.OUTCOME)
    return Outcome(stored) if stored in possible else possible[0]


def count_outcomes(study: optuna.Study) -> Counter[Outcome]:
    """Counts the finished trials of a study by outcome."""
    trials = study.get_trials(deepcopy=False)
    return Counter(outcome_of(trial) for trial in trials if trial.state.is_finished())


def counts(trial: FrozenTrial) -> bool:
    """Returns whether a trial counts towards the total, now or once it is finished."""
    return not trial.state.is_finished() or outcome_of(trial).counts
