"""The study `auto`: its first trials depend on the task and on the backbones."""

from typing import Any

import pytest

from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.errors import UserError
from spaces.task import Task
from studies.study import StudySpec, load_study

BACKBONE = KerasApplication(family="MobileNetV3Small", weights="none")


@pytest.fixture
def spec() -> StudySpec:
    """The shipped study."""
    return load_study("auto").spec


def _first(spec: StudySpec, **fields: Any) -> dict[str, Any]:
    return dict(spec.first_trials(Task(**fields))[0])


def test_without_a_backbone_everything_is_trained_from_scratch(spec: StudySpec) -> None:
    families = {trial["family"] for trial in spec.first_trials(Task())}
    families |= {change.get("family", "plain") for change in spec.later_trials(Task())}

    assert families == {"plain", "residual", "convnext", "inverted_residual"}


def test_a_backbone_may_be_named_and_leads(spec: StudySpec) -> None:
    loaded = load_study("auto").with_backbones(["MobileNetV3Small=none"])

    assert spec.backbones == ()
    assert loaded.spec.backbones == (BACKBONE,)
    trials = loaded.spec.first_trials(Task())
    assert [trial["family"] for trial in trials] == ["features", "fine_tuning", "plain"]


def test_other_studies_still_build_their_own() -> None:
    with pytest.raises(UserError, match=r"\(auto, .*'depth_filters' builds its own"):
        load_study("depth_filters").with_backbones(["MobileNetV3Small"])


def test_the_rate_of_the_first_trial_follows_from_the_number_of_images(spec: StudySpec) -> None:
    rates = [_first(spec, images=images)["learning_rate"] for images in (400, 5_000, 50_000)]

    assert rates == sorted(rates)
    assert rates[1] == 0.01


def test_little_time_makes_a_narrow_network_and_no_strong_augmentation(spec: StudySpec) -> None:
    short = Task(multiply_accumulates=1e8)
    long = Task(multiply_accumulates=1e10)

    assert _first(spec, multiply_accumulates=1e8)["filters"] == 32
    assert _first(spec, multiply_accumulates=1e10)["filters"] == 64
    assert _first(spec)["filters"] == 64
    assert {"cutmix": 0.5} not in spec.later_trials(short)
    assert {"cutmix": 0.5} in spec.later_trials(long)
    assert _first(spec, multiply_accumulates=1e8)["stem_filters"] == 0
    assert _first(spec)["stem_filters"] == 24


def test_flips_are_left_to_what_the_first_trial_finds(spec: StudySpec) -> None:
    with_backbone = spec.model_copy(update={"backbones": (BACKBONE,)})

    for found in (spec, with_backbone):
        assert not any("horizontal_flip" in change for change in found.later_trials(Task()))


def test_a_small_image_costs_less(spec: StudySpec) -> None:
    assert _first(spec, image_shape=(8, 8, 3), multiply_accumulates=1e8)["filters"] == 64
