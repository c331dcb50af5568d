"""A study's stored identity, and the refusal to resume it with a different one."""

from dataclasses import replace

import optuna
import pytest

from cnn_blocks.errors import UserError
from search.data import Split, split_data
from search.optimize.fingerprint import identify, remember_or_refuse, step_unit
from search.sizing.time_plan import TimePlan
from search.storage import quiet_optuna
from studies.study import StudySpec
from tests.support.attributes import stored_on


@pytest.fixture
def study() -> optuna.Study:
    with quiet_optuna():
        return optuna.create_study(study_name="remembered")


def test_the_same_identity_resumes(
    study: optuna.Study, tiny_study: StudySpec, digits: Split
) -> None:
    for _ in range(2):
        identity = identify(tiny_study, digits, TimePlan(), metric="accuracy", seed=0)
        remember_or_refuse(study, identity)

    assert study.user_attrs["step_unit"] == "1/2 epoch"
    assert stored_on(study)["split_sha256"] == digits.sha256
    assert study.user_attrs["split_fractions"] == "validation 0.15, test 0.15"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("space_fingerprint", "f" * 64, "the search space"),
        ("data_fingerprint", "f" * 64, "the data"),
        ("metric", "loss", r"the metric \(stored: accuracy, received: loss\)"),
        ("step_unit", "1 epoch", r"stored: 1/2 epoch, received: 1 epoch"),
        ("epochs", 3, "the epochs of a trial"),
        ("split_sha256", "f" * 64, "the split"),
        ("image_shape", "8x8", "the image size"),
        ("fit", "pad", r"\(stored: crop, received: pad\)"),
    ],
)
def test_another_identity_is_refused_with_a_fix(
    study: optuna.Study, tiny_study: StudySpec, digits: Split, field: str, value: object, words: str
) -> None:
    identity = identify(tiny_study, digits, TimePlan(), metric="accuracy", seed=0)
    remember_or_refuse(study, identity)

    with pytest.raises(UserError, match=words) as raised:
        remember_or_refuse(study, replace(identity, **{field: value}))  # type: ignore[arg-type]

    assert "--study-name NEW" in str(raised.value)
    assert stored_on(study)[field] == getattr(identity, field)


def test_another_seed_gives_another_split(tiny_study: StudySpec, digits: Split) -> None:
    other = split_data(digits.dataset, seed=1)

    first = identify(tiny_study, digits, TimePlan(), metric="accuracy", seed=0)
    second = identify(tiny_study, other, TimePlan(), metric="accuracy", seed=1)

    assert first.split_sha256 != second.split_sha256


def test_a_step_unit_is_text(tiny_study: StudySpec) -> None:
    plans = TimePlan(), TimePlan(trial_seconds=12.34, intervals=5)
    whole = tiny_study.model_copy(update={"reports_per_epoch": 1})

    assert [step_unit(whole, plan) for plan in plans] == ["1 epoch", "1/5 trial of 12.3 s"]
    assert step_unit(tiny_study, TimePlan()) == "1/2 epoch"
