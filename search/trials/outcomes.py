"""How trials end, and how many ended how."""

from collections import Counter
from enum import StrEnum

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.storage import TrialAttribute


class Outcome(StrEnum):
    """How a trial ended.

    An interrupted trial, and a crashed one, is continued by a later trial; the two count once.
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


# The state is written once, by whoever ends the trial first; the attribute beside it may come from
# a worker that was too late. So the state decides, and the attribute only says more.
_OUTCOMES_OF_STATE = {
    TrialState.COMPLETE: (Outcome.COMPLETE,),
    TrialState.PRUNED: (Outcome.PRUNED, Outcome.INFEASIBLE),
    TrialState.FAIL: (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.CRASHED),
}


def outcome_of(trial: FrozenTrial) -> Outcome:
    """Returns how a finished trial ended."""
    possible = _OUTCOMES_OF_STATE[trial.state]
    stored = trial.user_attrs.get(TrialAttribute.OUTCOME)
    return Outcome(stored) if stored in possible else possible[0]


def count_outcomes(study: optuna.Study) -> Counter[Outcome]:
    """Counts the finished trials of a study by how they ended."""
    trials = study.get_trials(deepcopy=False)
    return Counter(outcome_of(trial) for trial in trials if trial.state.is_finished())


def counts(trial: FrozenTrial) -> bool:
    """Returns whether a trial counts towards the total, or will when it is finished."""
    return not trial.state.is_finished() or outcome_of(trial).counts
