"""The best trial of a stored study."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from cnn_blocks.errors import UserError
from search.optimize.winner import best_configuration, load_stored_study, mirrors, search_curve
from search.sizing.time_plan import TimePlan
from search.storage import TrialAttribute, open_storage, quiet_optuna
from spaces.candidate import Candidate, TrainingConfig
from studies.study import StudySpec


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with quiet_optuna():
        optuna.create_study(storage=open_storage(url), study_name="mine")
    return url


def test_the_error_for_an_unknown_study_lists_the_stored_ones(url: str) -> None:
    with pytest.raises(UserError, match=r"must be one of mine.*received 'yours'"):
        load_stored_study("yours", url)


def test_a_study_without_a_complete_trial_has_no_winner(url: str) -> None:
    with pytest.raises(UserError, match="needs a complete trial"):
        best_configuration(load_stored_study("mine", url))


def test_a_candidate_of_another_version_is_refused_with_a_fix(url: str) -> None:
    study = load_stored_study("mine", url)
    trial = study.ask()
    trial.set_user_attr(TrialAttribute.CANDIDATE, "{}")
    study.tell(trial, 0.5)

    with pytest.raises(UserError, match="Fix: use the version that ran the search"):
        best_configuration(study)


def test_a_study_of_another_program_has_no_winner(url: str) -> None:
    study = load_stored_study("mine", url)
    study.tell(study.ask(), 0.5)

    with pytest.raises(UserError, match=r"another program made it\. Fix: name a study"):
        best_configuration(study)


def finished(
    study: optuna.Study,
    *,
    retraining_seconds: float | None = 100.0,
    images_per_second: float | None = 640.0,
    flip: bool | None = None,
    harmless: bool | None = None,
    **training: Any,
) -> optuna.trial.FrozenTrial:
    """Stores a trial with batches of 64, and its study's time plan."""
    plan = TimePlan(trial_seconds=10.0, retraining_seconds=retraining_seconds)
    attributes = {
        "image_shape": "28x32",
        "metric": "accuracy",
        "seed": 3,
        "class_names": ["cat", "dog"],
        "time_plan": plan.model_dump_json(exclude_none=True),
    }
    for name, value in attributes.items():
        study.set_user_attr(name, value)
    backbone = {"kind": "staged", "stages": [{"block": {"kind": "plain", "filters": 8}}]}
    candidate = Candidate.model_validate(
        {
            "model": {"backbone": backbone, "head": {"kind": "pooled"}},
            "training": TrainingConfig(batch_size=64, **training),
        }
    )
    trial = study.ask()
    if flip is not None:
        trial.suggest_categorical("horizontal_flip", [flip])
    trial.set_user_attr(TrialAttribute.CANDIDATE, candidate.to_json())
    if images_per_second is not None:
        trial.set_user_attr(TrialAttribute.IMAGES_PER_SECOND, images_per_second)
    if harmless is not None:
        trial.set_user_attr(TrialAttribute.MIRRORED, {"harmless": harmless})
    study.tell(trial, 0.5)
    return study.trials[-1]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"steps": 20}, 1000),
        ({"steps": 5000}, 5000),  # never fewer than in the trial
        ({"steps": 20, "images_per_second": None}, 20),
        ({"steps": 20, "retraining_seconds": None}, 20),
        ({"epochs": 4}, None),
    ],
    ids=["longer", "long already", "no speed", "no time of its own", "epochs"],
)
def test_the_winners_steps_fill_the_retraining_time(
    settings: dict[str, Any], steps: int | None, url: str
) -> None:
    study = load_stored_study("mine", url)
    finished(study, **settings)

    configuration = best_configuration(study)

    assert configuration.candidate.training.steps == steps
    assert configuration.candidate.training.batch_size == 64
    assert (configuration.image_size, configuration.epochs) == ((28, 32), None)


@pytest.mark.parametrize(
    ("flip", "harmless", "expected"),
    [
        (False, True, True),
        (False, False, False),
        (True, False, False),
        (True, None, True),
        (False, None, False),
        (None, True, False),
    ],
)
def test_the_winner_mirrors_images_if_that_is_harmless_and_left_open(
    flip: bool | None, harmless: bool | None, expected: bool, url: str
) -> None:
    study = load_stored_study("mine", url)
    trial = finished(study, steps=20, flip=flip, harmless=harmless)

    assert mirrors(study, trial) is expected
    candidate = best_configuration(study).candidate
    assert candidate.training.augmentation.horizontal_flip is expected
    assert candidate.model.mirror is expected


def test_a_search_curve_is_in_epochs_whatever_unit_its_steps_have(
    url: str, tiny_study: StudySpec, timed_study: StudySpec
) -> None:
    study = load_stored_study("mine", url)
    trial = study.ask()
    trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, 6.0)
    for step, value in ((2, 0.4), (1, 0.3), (4, 0.5)):
        trial.report(value, step)
    study.tell(trial, 0.5)
    stored = study.trials[-1]

    assert search_curve(stored, timed_study) == [(1.5, 0.3), (3.0, 0.4), (6.0, 0.5)]
    assert search_curve(stored, tiny_study) == [(0.5, 0.3), (1.0, 0.4), (2.0, 0.5)]
