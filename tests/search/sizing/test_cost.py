"""Cost predicted from shapes and a machine's speed."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import ModelShape
from cnn_blocks.work import Work
from search.sizing.coefficients import COEFFICIENTS, GROUPS, PROBES
from search.sizing.cost import TrainingCost, corrected, predict_cost
from search.sizing.machine_speed import MachineSpeed, MeasuredOn
from search.sizing.quantities import of_step, of_validation
from spaces.candidate import TrainingConfig

HEAD = Work(layers=3, variables=4, multiplies=10**6, gathered=10**4, convolved=100)
BODY = Work(layers=20, variables=0, multiplies=10**8, gathered=10**6, batch_normalized=10**6)
SHAPE = ModelShape(
    parameters=10**6,
    trainable_parameters=10**4,
    activations=10**6,
    feature_map=(4, 4, 64),
    largest_activation=10**5,
    work=HEAD,
    frozen_work=BODY,
    image_elements=3072,
)
TRAINING = TrainingConfig(batch_size=64)


def speed(policy: str = "float32", *, scales: Mapping[str, float] = {}) -> MachineSpeed:
    return MachineSpeed(
        measured_on=MeasuredOn(
            backend="tensorflow",
            policy=policy,
            compiled=False,
            threads=2,
            processor="a processor",
            device="cpu",
        ),
        **scales,
    )


def test_a_step_has_the_images_that_there_are() -> None:
    few = predict_cost(SHAPE, TRAINING, speed(), images=10)
    many = predict_cost(SHAPE, TRAINING, speed(), images=10_000)

    assert (few.step_images, many.step_images) == (10, 64)
    assert few.step_seconds < many.step_seconds < 6.4 * few.step_seconds
    assert few.validation_seconds == many.validation_seconds > 0


@pytest.mark.parametrize("group", GROUPS)
def test_a_slower_machine_takes_longer(group: str) -> None:
    cost = predict_cost(SHAPE, TRAINING, speed(), images=1000)
    slower = predict_cost(SHAPE, TRAINING, speed(scales={group: 3.0}), images=1000)
    all_slower = predict_cost(
        SHAPE, TRAINING, speed(scales=dict.fromkeys(GROUPS, 3.0)), images=1000
    )

    assert cost.step_seconds < slower.step_seconds < all_slower.step_seconds
    assert all_slower.step_seconds == pytest.approx(3 * cost.step_seconds)
    tracing = cost.compiling_seconds - cost.step_seconds
    twice = predict_cost(SHAPE, TRAINING, speed(scales={"compiling": 2.0}), images=1000)
    assert twice.compiling_seconds == pytest.approx(2 * tracing + cost.step_seconds)


def test_a_frozen_part_costs_less_than_one_that_trains_and_nothing_on_features() -> None:
    frozen = predict_cost(SHAPE, TRAINING, speed(), images=1000)
    whole = predict_cost(
        replace(SHAPE, work=HEAD + BODY, frozen_work=Work()), TRAINING, speed(), images=1000
    )
    head = predict_cost(SHAPE, TRAINING, speed(), images=1000, on_features=True)

    assert head.step_seconds < 0.5 * frozen.step_seconds < 0.5 * whole.step_seconds
    assert head.validation_seconds < 0.5 * frozen.validation_seconds
    assert frozen.validation_seconds == pytest.approx(whole.validation_seconds)


def test_augmentation_costs_what_is_switched_on() -> None:
    augmented = TrainingConfig(
        batch_size=64, augmentation=Augmentation(horizontal_flip=True, randaugment=0.5)
    )

    plain = predict_cost(SHAPE, TRAINING, speed(), images=1000)
    more = predict_cost(SHAPE, augmented, speed(), images=1000)

    assert more.step_seconds > plain.step_seconds
    assert more.validation_seconds == plain.validation_seconds
    on_features = predict_cost(SHAPE, augmented, speed(), images=1000, on_features=True)
    assert on_features == predict_cost(SHAPE, TRAINING, speed(), images=1000, on_features=True)


def test_both_precisions_price_every_quantity() -> None:
    names = {*of_step(SHAPE, TRAINING, 64), *of_validation(SHAPE)}

    for table in COEFFICIENTS.values():
        assert set(table) == names
        assert all(value >= 0 for value in table.values())
    for reference in PROBES.values():
        assert set(reference) == set(GROUPS)
    assert speed("mixed_float16").table == "bfloat16"


def test_a_shape_without_counts_costs_only_its_constants() -> None:
    unknown = ModelShape(
        parameters=10, trainable_parameters=10, activations=5, feature_map=(1, 1, 1)
    )

    assert 0 < predict_cost(unknown, TRAINING, speed(), images=100).step_seconds < 0.05


def test_finished_trainings_correct_a_prediction_by_their_median() -> None:
    cost = TrainingCost(0.2, 0.001, 3.0, step_images=64)

    assert corrected(cost, []) == cost
    assert corrected(cost, [math.nan, 0.0, -1.0, math.inf]) == cost
    slower = corrected(cost, [1.4, 1.5, 90.0, math.nan])
    assert slower.step_seconds == pytest.approx(0.3)
    assert slower.validation_seconds == pytest.approx(0.0015)
    assert (slower.compiling_seconds, slower.step_images) == (3.0, 64)


def test_a_cost_says_what_steps_and_validations_take_together() -> None:
    cost = TrainingCost(0.2, 0.001, 3.0, step_images=64)

    assert cost.training_seconds(10, validated=500) == pytest.approx(3.0 + 2.0 + 0.5)
