"""Where values are stored on studies and trials, and that earlier places are read."""

import optuna
import pytest

from search.storage.attributes import (
    StudyAttribute,
    TrialAttribute,
    set_study_attribute,
    set_trial_attribute,
    study_attributes,
    trial_attribute,
)


@pytest.mark.parametrize(
    ("name", "in_sight"),
    [
        (StudyAttribute.DATA, True),
        ("metric", True),
        (StudyAttribute.TIME_PLAN, False),
        ("space_fingerprint", False),
    ],
)
def test_a_studys_long_values_are_out_of_sight(
    study: optuna.Study, name: str, in_sight: bool
) -> None:
    set_study_attribute(study._storage, study._study_id, name, "value")

    assert study.user_attrs == ({name: "value"} if in_sight else {})
    assert study_attributes(study._storage, study._study_id) == {name: "value"}


def test_a_trials_long_values_are_out_of_sight(study: optuna.Study) -> None:
    trial = study.ask()
    for name in (TrialAttribute.CANDIDATE, TrialAttribute.SUMMARY):
        set_trial_attribute(study._storage, trial._trial_id, name, f"its {name}")

    (stored,) = study.trials
    assert stored.user_attrs == {"summary": "its summary"}
    assert trial_attribute(stored, TrialAttribute.CANDIDATE) == "its candidate"
    assert trial_attribute(stored, TrialAttribute.SUMMARY) == "its summary"
    assert trial_attribute(stored, TrialAttribute.LEASE, "none") == "none"


def test_what_an_earlier_version_stored_is_read_until_it_is_replaced(study: optuna.Study) -> None:
    trial = study.ask()
    trial.set_user_attr(TrialAttribute.CANDIDATE, "earlier")
    study.set_user_attr(StudyAttribute.TIME_PLAN, "earlier")
    assert trial_attribute(study.trials[0], TrialAttribute.CANDIDATE) == "earlier"
    assert study_attributes(study._storage, study._study_id) == {"time_plan": "earlier"}

    set_trial_attribute(study._storage, trial._trial_id, TrialAttribute.CANDIDATE, "later")
    set_study_attribute(study._storage, study._study_id, StudyAttribute.TIME_PLAN, "later")

    assert trial_attribute(study.trials[0], TrialAttribute.CANDIDATE) == "later"
    assert study_attributes(study._storage, study._study_id) == {"time_plan": "later"}
