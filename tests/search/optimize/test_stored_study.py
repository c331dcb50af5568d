"""A stored study: its time plan, and studies of the version that had no time plans."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from optuna.distributions import json_to_distribution
from optuna.trial import create_trial

from cnn_blocks.errors import UserError
from search.data import Split
from search.optimize.fingerprint import refuse_foreign
from search.optimize.stored_study import (
    as_begun,
    phase_seconds,
    remember_phase,
    store_study,
    stored_fit,
    stored_plan,
    with_class_weights,
)
from search.progress.events import Progress
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import TimePlan
from search.storage import StudyAttribute, open_storage, quiet_optuna
from search.storage.attributes import set_study_attribute
from search.trials.session import Session
from spaces.candidate import Candidate
from studies.study import StudySpec
from tests.support.sessions import changed, make_session

# A search of two trials at commit 542c9e2, with the space of these tests.
GOLDEN = Path(__file__).parent / "golden" / "study_before_time_plans.json"


def store_golden(url: str) -> None:
    """Stores a study of an earlier version as "tiny"."""
    golden: dict[str, Any] = json.loads(GOLDEN.read_text("utf-8"))
    with quiet_optuna():
        study = optuna.create_study(
            storage=open_storage(url), study_name="tiny", direction="maximize"
        )
    for name, value in golden["user_attrs"].items():
        study.set_user_attr(name, value)
    for trial in golden["trials"]:
        distributions = {
            name: json_to_distribution(json.dumps(found))
            for name, found in trial.pop("distributions").items()
        }
        values = {int(step): value for step, value in trial.pop("intermediate_values").items()}
        study.add_trial(
            create_trial(distributions=distributions, intermediate_values=values, **trial)
        )


@pytest.fixture
def storage(url: str) -> Iterator[optuna.storages.BaseStorage]:
    with quiet_optuna():
        yield open_storage(url)


@pytest.fixture
def session(timed_study: StudySpec, digits: Split, speed: MachineSpeed, tmp_path: Path) -> Session:
    """The session that a test stores the study of; nothing is stored yet."""
    plan = TimePlan(
        budget_seconds=60.0,
        search_seconds=40.0,
        trial_seconds=10.0,
        intervals=4,
        first_rung=2,
        retraining_seconds=15.0,
        fewest_passes=0.5,
        image_size=(24, 32),
        speed=speed,
    )
    checkpoints = tmp_path / "runs" / "tiny" / "checkpoints"
    checkpoints.mkdir(parents=True)
    unstored: Any = None
    return make_session(
        unstored, spec=timed_study, split=digits, checkpoints=checkpoints, plan=plan
    )


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_study_of_another_program_is_refused_and_not_changed(
    storage: optuna.storages.BaseStorage, direction: Literal["minimize", "maximize"]
) -> None:
    foreign = optuna.create_study(storage=storage, study_name="tiny", direction=direction)
    foreign.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=2)

    with pytest.raises(UserError, match=rf"from another program \(2 trials, to {direction}\)"):
        refuse_foreign(storage, "tiny", "maximize")

    assert foreign.user_attrs == {}
    assert len(foreign.trials) == 2


def test_an_empty_study_is_only_refused_for_its_direction(
    storage: optuna.storages.BaseStorage,
) -> None:
    refuse_foreign(storage, "tiny", "maximize")
    optuna.create_study(storage=storage, study_name="tiny", direction="maximize")
    refuse_foreign(storage, "tiny", "maximize")

    with pytest.raises(UserError, match="0 trials, to maximize"):
        refuse_foreign(storage, "tiny", "minimize")


def test_a_study_of_an_earlier_version_is_not_foreign(
    url: str, storage: optuna.storages.BaseStorage
) -> None:
    store_golden(url)

    refuse_foreign(storage, "tiny", "maximize")


def opened(session: Session, storage: optuna.storages.BaseStorage) -> optuna.Study:
    return store_study(session.experiment, session.split, storage)


def test_a_plan_is_stored_with_its_study_and_read_back(
    session: Session, storage: optuna.storages.BaseStorage
) -> None:
    assert stored_plan(storage, "tiny") is None

    study = opened(session, storage)

    assert stored_plan(storage, "tiny") == session.experiment.plan
    assert stored_plan(storage, "another") is None
    assert study.user_attrs["step_unit"] == "1/4 trial of 10 s"
    assert study.user_attrs["epochs"] is None
    assert opened(session, storage).user_attrs == study.user_attrs
    assert as_begun(session.spec, storage, "tiny") == session.spec


def test_a_study_keeps_the_fit_it_was_started_with(
    session: Session, storage: optuna.storages.BaseStorage, url: str
) -> None:
    assert stored_fit(storage, "tiny") is None
    opened(session, storage)
    assert stored_fit(storage, "tiny") == "crop"


def test_a_study_of_an_earlier_version_stretched_its_images(
    storage: optuna.storages.BaseStorage, url: str
) -> None:
    store_golden(url)
    assert stored_fit(storage, "tiny") == "stretch"


def test_a_plan_of_another_version_is_refused_with_a_fix(
    session: Session, storage: optuna.storages.BaseStorage
) -> None:
    study = opened(session, storage)
    set_study_attribute(
        storage, study._study_id, StudyAttribute.TIME_PLAN, '{"format_version": 99}'
    )

    with pytest.raises(UserError, match=r"readable by this version.*--study-name NEW"):
        stored_plan(storage, "tiny")


def test_trials_of_another_length_are_refused(
    session: Session, storage: optuna.storages.BaseStorage
) -> None:
    opened(session, storage)
    longer = session.experiment.plan.model_copy(update={"trial_seconds": 20.0})

    with pytest.raises(UserError, match=r"the step unit.*--study-name NEW"):
        opened(changed(session, plan=longer), storage)


def test_a_study_whose_space_has_changed_is_refused_with_a_fix(
    session: Session, storage: optuna.storages.BaseStorage
) -> None:
    opened(session, storage)
    space = session.spec.space

    def other_space(trial: Any) -> Candidate:
        return space(trial).with_training(clip_norm=1.0)

    spec = session.spec.model_copy(update={"space": other_space})

    with pytest.raises(UserError, match=r"the search space.*--study-name NEW"):
        opened(changed(session, spec=spec), storage)


def test_the_seconds_of_each_phase_add_up_over_all_starts(
    session: Session, storage: optuna.storages.BaseStorage
) -> None:
    assert phase_seconds(opened(session, storage)) == {}

    for _ in range(2):
        remember_phase(opened(session, storage), "search", 1.25)
    remember_phase(opened(session, storage), "retraining", 3.0)

    assert phase_seconds(opened(session, storage)) == {"search": 2.5, "retraining": 3.0}


def test_a_study_of_an_earlier_version_keeps_its_epochs(
    session: Session, url: str, storage: optuna.storages.BaseStorage
) -> None:
    store_golden(url)

    for _ in range(2):  # and at every later start
        spec = as_begun(session.spec, storage, "tiny")
        assert (spec.epochs, spec.reports_per_epoch, spec.retrain_epochs) == (2, 2, 1)
        study = opened(changed(session, spec=spec, plan=TimePlan()), storage)

    assert len(study.trials) == 2
    assert study.user_attrs["step_unit"] == "1/2 epoch"


def test_a_study_of_an_earlier_version_whose_space_has_changed_is_refused(
    session: Session, url: str, storage: optuna.storages.BaseStorage
) -> None:
    store_golden(url)
    spec = as_begun(session.spec, storage, "tiny")
    space = spec.space
    other = spec.model_copy(
        update={"space": lambda trial: space(trial).with_training(batch_size=32)}
    )

    with pytest.raises(UserError, match=r"the search space.*--study-name NEW"):
        opened(changed(session, spec=other, plan=TimePlan()), storage)


def test_a_study_with_epochs_of_its_own_keeps_them(
    tiny_study: StudySpec, url: str, storage: optuna.storages.BaseStorage
) -> None:
    store_golden(url)
    other = tiny_study.model_copy(update={"epochs": 7})

    assert as_begun(other, storage, "tiny") is other
    assert as_begun(other, storage, "unknown") is other


def weighted(
    session: Session, storage: optuna.storages.BaseStorage, asked: Any = "auto"
) -> Session:
    spec = session.spec.model_copy(update={"class_weights": asked})
    spec = with_class_weights(
        spec, session.split, storage, "tiny", metric="accuracy", progress=Progress()
    )
    return changed(session, spec=spec)


def test_class_weights_are_stored_and_kept(
    session: Session, storage: optuna.storages.BaseStorage
) -> None:
    study = opened(weighted(session, storage, "balanced"), storage)

    assert study.user_attrs[StudyAttribute.CLASS_WEIGHTS] == "balanced"
    for asked in ("auto", "balanced", None):
        again = weighted(session, storage, asked)
        assert again.spec.class_weights == "balanced"
        opened(again, storage)
    with pytest.raises(
        UserError, match=r"started with balanced, received --class-weights none.*NEW"
    ):
        weighted(session, storage, "none")


def test_equal_classes_leave_a_study_unchanged(
    session: Session, storage: optuna.storages.BaseStorage
) -> None:
    study = opened(session, storage)

    again = weighted(session, storage)

    assert again.spec.class_weights is None
    assert opened(again, storage).user_attrs == study.user_attrs
    with pytest.raises(UserError, match=r"started with those of its space"):
        weighted(session, storage, "balanced")


def test_class_weights_reach_every_candidate(session: Session) -> None:
    trial = optuna.trial.FixedTrial({"filters": 4, "dropout": 0.0})

    for weights, expected in (("balanced", "balanced"), (None, "none"), ("auto", "none")):
        spec = session.spec.model_copy(update={"class_weights": weights})
        assert spec.candidate(trial).training.class_weights == expected


def test_a_study_of_an_earlier_version_continues_without_class_weights(
    session: Session, url: str, storage: optuna.storages.BaseStorage
) -> None:
    store_golden(url)

    assert weighted(session, storage).spec.class_weights is None
    with pytest.raises(UserError, match=r"started with those of its space.*--study-name NEW"):
        weighted(session, storage, "balanced")
