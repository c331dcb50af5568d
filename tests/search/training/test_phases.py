"""A training in two phases: first only the head, then the backbone as well."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.data import Subset
from search.system.runtime import Compute
from search.training import FitResult, ValidationReport, fit
from search.training.checkpoint import Checkpoint
from spaces.candidate import Candidate, FineTuning, TrainingConfig
from tests.support.listening import Listening

pytestmark = pytest.mark.usefixtures("saved_at_once")

Digits = tuple[Subset, Subset]
Make = Callable[..., Candidate]


class _Interruption(Exception):
    pass


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of two stages with batch normalisation and dropout."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("backbones") / "network.keras"
    parts = [
        keras.Input((16, 16, 3)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="first"),
        layers.BatchNormalization(),
        layers.Dropout(0.2),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
    ]
    keras.Sequential(parts).save(path)
    return path


@pytest.fixture
def two_phases(file: Path) -> Make:
    """Makes a candidate with a head phase of half the epochs."""

    def make(**training: Any) -> Candidate:
        settings = {
            "epochs": 4,
            "batch_size": 64,
            "learning_rate": 0.02,
            "weight_decay": 0.1,
            "schedule": "constant",
            "augmentation": Augmentation(horizontal_flip=True, crop_padding=1),
            "fine_tuning": FineTuning(head_share=0.5, learning_rate=0.001),
        }
        return Candidate(
            model=ModelConfig(
                preprocessing="none",
                backbone=KerasFile(path=str(file), trainable="all"),
                head=Pooled(dropout=0.1),
            ),
            training=TrainingConfig(**(settings | training)),
        )

    return make


def _train(candidate: Candidate, train: Subset, spec: InputSpec, **options: Any) -> FitResult:
    return fit(candidate, train, spec=spec, seed=5, compute=Compute(precision="float32"), **options)


def _backbone(result: FitResult) -> dict[str, Any]:
    return {
        layer.name: layer.get_weights()
        for layer in result.model.layers
        if layer.name.startswith("backbone") and layer.weights
    }


def test_the_head_trains_alone_then_the_backbone_with_its_own_rate(
    digits: Digits, spec: InputSpec, two_phases: Make, file: Path
) -> None:
    import keras

    head_alone = two_phases().phases()[0].candidate
    after_head = _train(head_alone, digits[0], spec)
    both = _train(two_phases(), digits[0], spec)

    original = keras.models.load_model(file)
    for name, weights in _backbone(after_head).items():
        for old, new in zip(
            original.get_layer(name.removeprefix("backbone_")).get_weights(), weights, strict=True
        ):
            np.testing.assert_array_equal(old, new)
    for name, weights in _backbone(both).items():
        for old, new in zip(_backbone(after_head)[name], weights, strict=True):
            assert np.abs(old - new).max() > 1e-5, name
    assert [row["epoch"] for row in both.history] == [1, 2, 3, 4]
    rates = [row["learning_rate"] for row in both.history]
    assert rates == pytest.approx([0.02, 0.02, 0.001, 0.001])
    assert [row["loss"] for row in both.history[:2]] == [row["loss"] for row in after_head.history]
    assert both.model.count_params() == both.parameters


def test_the_second_phase_goes_on_from_the_first_ones_head(
    digits: Digits, spec: InputSpec, two_phases: Make
) -> None:
    still = FineTuning(head_share=0.5, learning_rate=1e-12)
    head, both = (
        _train(made, digits[0], spec)
        for made in (two_phases().phases()[0].candidate, two_phases(fine_tuning=still))
    )

    for first, second in zip(head.weights[-2:], both.weights[-2:], strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    "interruptions",
    [
        pytest.param([1], marks=pytest.mark.slow),
        [2],
        pytest.param([3], marks=pytest.mark.slow),
        [1, 2, 3],
    ],
    ids=str,
)
def test_an_interruption_on_either_side_of_the_boundary_changes_nothing(
    interruptions: list[int],
    digits: Digits,
    spec: InputSpec,
    two_phases: Make,
    tmp_path: Path,
) -> None:
    expected: list[ValidationReport] = []
    options: dict[str, Any] = {"validation": digits[1]}
    whole = _train(
        two_phases(), digits[0], spec, listener=Listening(on_report=expected.append), **options
    )

    options["checkpoint_directory"] = tmp_path
    for step in interruptions:

        def interrupt(report: ValidationReport, step: int = step) -> None:
            if report.step == step:
                raise _Interruption

        with pytest.raises(_Interruption):
            _train(
                two_phases(), digits[0], spec, listener=Listening(on_report=interrupt), **options
            )
        assert _phase(tmp_path) == (0 if step <= 2 else 1)
    reports: list[ValidationReport] = []
    resumed = _train(
        two_phases(), digits[0], spec, listener=Listening(on_report=reports.append), **options
    )

    assert [report.metrics for report in reports] == [report.metrics for report in expected]
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def _phase(folder: Path) -> int:
    import json

    with np.load(folder / "checkpoint.npz") as file:
        identity = json.loads(str(file["header"]))["identity"]
    saved = Checkpoint(folder, identity=identity).read()
    assert saved is not None
    return int(saved[0]["phase"])


def test_early_stopping_waits_for_the_second_phase_and_restores_from_it(
    digits: Digits, contrary: Subset, spec: InputSpec, two_phases: Make
) -> None:
    # With wrong labels the validation loss rises from the first epoch on.
    made = two_phases(epochs=8, early_stopping=1, learning_rate=0.1)

    result = _train(made, digits[0], spec, validation=contrary)

    assert result.history[0]["val_loss"] < result.history[3]["val_loss"]
    assert result.best["epoch"] > 4
    assert result.epochs_trained == result.best["epoch"] + 1 < 8


def test_two_phases_share_the_steps(digits: Digits, spec: InputSpec, two_phases: Make) -> None:
    made = two_phases(steps=12, fine_tuning=FineTuning(head_share=0.25, learning_rate=0.001))

    result = _train(made, digits[0], spec, validation=digits[1], intervals=4)

    assert [row["step"] for row in result.history] == [3, 6, 9, 12]
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([0.02, 0.001, 0.001, 0.001])


def test_an_interruption_at_the_boundary_of_phases_in_steps_changes_nothing(
    digits: Digits, spec: InputSpec, two_phases: Make, tmp_path: Path
) -> None:
    made = two_phases(steps=12)
    options: dict[str, Any] = {"validation": digits[1], "intervals": 4}
    whole = _train(made, digits[0], spec, **options)

    def interrupt(report: ValidationReport) -> None:
        if report.step == 2:
            raise _Interruption

    options["checkpoint_directory"] = tmp_path
    with pytest.raises(_Interruption):
        _train(made, digits[0], spec, listener=Listening(on_report=interrupt), **options)
    resumed = _train(made, digits[0], spec, **options)

    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_time_of_two_phases_becomes_their_steps(
    digits: Digits, spec: InputSpec, two_phases: Make
) -> None:
    told: list[Candidate] = []
    options: dict[str, Any] = {"validation": digits[1], "intervals": 4}

    timed = _train(
        two_phases(),
        digits[0],
        spec,
        seconds=lambda: 0.3,
        most_steps=24,
        listener=Listening(on_length=told.append),
        **options,
    )

    given = _train(told[0], digits[0], spec, **options)
    for a, b in zip(timed.weights, given.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_single_epoch_tunes_everything(digits: Digits, spec: InputSpec, two_phases: Make) -> None:
    result = _train(two_phases(epochs=1), digits[0], spec)

    assert [row["learning_rate"] for row in result.history] == pytest.approx([0.001])
