"""Learning-rate schedules, value by value."""

from typing import Any

import pytest

from search.training.optimizers import make_optimizer, make_schedule
from spaces.candidate import Compilation, TrainingConfig


def _rates(schedule: Any, steps: int = 100, **settings: Any) -> list[float]:
    made = make_schedule(
        TrainingConfig(schedule=schedule, learning_rate=1.0, **settings), total_steps=steps
    )
    return [float(made(step)) for step in range(steps)]


def test_cosine_rises_linearly_then_falls_to_zero() -> None:
    rates = _rates("cosine", warmup=0.2)

    assert rates[:4] == pytest.approx([0.025, 0.075, 0.125, 0.175])
    assert max(rates) == pytest.approx(1, abs=0.03)
    assert rates.index(max(rates)) in (19, 20)
    assert rates[60] == pytest.approx(0.5, abs=0.02)
    assert 0 < rates[-1] < 0.001
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_cosine_without_warm_up_starts_at_the_peak() -> None:
    assert _rates("cosine", warmup=0.0)[0] == pytest.approx(1, abs=1e-3)


def test_one_cycle_starts_at_a_25th_peaks_and_ends_at_zero() -> None:
    rates = _rates("one_cycle", warmup=0.3)

    assert rates[0] == pytest.approx(0.04, abs=0.002)
    assert rates[15] == pytest.approx(0.54, abs=0.03)
    assert rates.index(max(rates)) in (29, 30)
    assert max(rates) == pytest.approx(1, abs=0.002)
    assert 0 < rates[-1] < 0.001


def test_step_divides_by_ten_at_half_and_at_three_quarters() -> None:
    rates = _rates("step", warmup=0.1)

    assert rates[0] == pytest.approx(0.05)
    assert rates[10:50] == pytest.approx([1.0] * 40)
    assert rates[50:75] == pytest.approx([0.1] * 25)
    assert rates[75:] == pytest.approx([0.01] * 25)


def test_a_schedule_scales_with_the_steps() -> None:
    short, long = (_rates("one_cycle", steps, warmup=0.25) for steps in (40, 400))

    assert max(abs(a - b) for a, b in zip(short, long[5::10], strict=True)) < 0.01


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_rate_that_only_callbacks_change_is_a_number(schedule: Any) -> None:
    assert make_schedule(TrainingConfig(schedule=schedule, learning_rate=0.3), 10) == 0.3


@pytest.mark.parametrize(
    ("name", "decay", "kind"), [("adam", 0.0, "Adam"), ("adamw", 0.1, "AdamW"), ("sgd", 0.1, "SGD")]
)
def test_an_optimizer_gets_its_settings(name: Any, decay: float, kind: str) -> None:
    training = TrainingConfig(optimizer=name, weight_decay=decay, momentum=0.8)

    optimizer = make_optimizer(training, 10)

    assert type(optimizer).__name__ == kind
    assert (optimizer.weight_decay or 0.0) == decay
    if name == "sgd":
        assert (optimizer.momentum, optimizer.nesterov) == (0.8, True)


@pytest.mark.parametrize("scale_loss", [False, True])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_spares_biases_and_normalisation(name: Any, scale_loss: bool) -> None:
    import keras

    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs))
    model = keras.Model(inputs, x)
    for weight in model.trainable_weights:
        weight.assign(keras.ops.ones(weight.shape))
    optimizer = make_optimizer(
        TrainingConfig(optimizer=name, learning_rate=0.1, schedule="constant", weight_decay=0.5),
        10,
        policy="mixed_float16" if scale_loss else "float32",
    )

    gradients = [keras.ops.zeros(weight.shape) for weight in model.trainable_weights]
    optimizer.apply(gradients, model.trainable_weights)

    changed = {weight.name: float(keras.ops.max(weight)) for weight in model.trainable_weights}
    assert changed == pytest.approx({"kernel": 0.95, "bias": 1, "gamma": 1, "beta": 1})


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_optimizer_that_scales_the_loss_has_the_other_ones_rate(schedule: Any) -> None:
    training = TrainingConfig(schedule=schedule, learning_rate=0.3, warmup=0.0)
    policies = ("mixed_bfloat16", "mixed_float16")
    plain, scaling = (make_optimizer(training, 10, policy=policy) for policy in policies)

    assert float(scaling.learning_rate) == pytest.approx(float(plain.learning_rate))
    assert float(scaling.scale_loss(1.0)) > 1000
    if schedule == "constant":
        scaling.learning_rate = 0.1
        assert float(scaling.inner_optimizer.learning_rate) == pytest.approx(0.1)


def test_a_compiled_optimizer_that_scales_the_loss_stays_as_it_is() -> None:
    import keras

    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
    compilation = Compilation(
        optimizer=keras.optimizers.serialize(optimizer), loss="categorical_crossentropy"
    )

    made = make_optimizer(TrainingConfig(compilation=compilation), 10, policy="mixed_float16")

    assert made.initial_scale == 8.0
    assert isinstance(made.inner_optimizer, keras.optimizers.SGD)
