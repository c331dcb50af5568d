"""What is stored on studies and trials, in sight or out of sight."""

from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search.storage.attributes import (
    TrialAttribute,
    set_trial_attribute,
    study_attributes,
    trial_attribute,
)


def stored_on(study: optuna.Study) -> dict[str, Any]:
    """Returns everything that we store on a study, by name."""
    return study_attributes(study._storage, study._study_id)


def candidate_of(trial: FrozenTrial) -> str:
    """Returns the candidate of a trial as JSON."""
    return str(trial_attribute(trial, TrialAttribute.CANDIDATE))


def give_lease(trial: optuna.Trial, lease: dict[str, Any]) -> None:
    """Gives a trial a lease without holding it."""
    set_trial_attribute(trial.storage, trial._trial_id, TrialAttribute.LEASE, lease)
