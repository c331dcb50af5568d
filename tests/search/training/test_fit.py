"""The training loop on real digits."""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec
from search.data import Subset
from search.errors import NonFiniteLossError, OutOfMemoryError
from search.progress.clock import Clock
from search.sizing.cache import backend_name
from search.system.runtime import Compute, Precision
from search.training import ValidationReport, fit
from search.training.metrics import classification_metrics
from spaces.candidate import Candidate
from tests.support.listening import Listening

Make = Callable[..., Candidate]
Digits = tuple[Subset, Subset]


def _probabilities(model: Any, subset: Subset) -> Any:
    images, _ = subset.gather(slice(None))
    return model.predict(images, verbose=0)


def _accuracy(model: Any, subset: Subset) -> float:
    _, labels = subset.gather(slice(None))
    return classification_metrics(_probabilities(model, subset), labels)["accuracy"]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "step", "plateau"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimizer_follows_every_schedule(
    optimizer: str, schedule: str, digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    train, validation = digits
    made = candidate(
        optimizer=optimizer,
        schedule=schedule,
        weight_decay=0.0 if optimizer == "adam" else 0.01,
        epochs=2,
        batch_size=256,
    )

    result = fit(made, train, spec=spec, validation=validation, seed=0)

    first, last = result.history
    assert last["loss"] < first["loss"]
    rate = made.training.learning_rate
    assert (last["learning_rate"] == pytest.approx(rate)) == (schedule in ("constant", "plateau"))


def test_training_learns_and_returns_the_whole_story(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    train, validation = digits
    reports: list[ValidationReport] = []
    progress: list[tuple[float, float]] = []
    clock = Clock()

    result = fit(
        candidate(epochs=5, batch_size=32),
        train,
        spec=spec,
        validation=validation,
        seed=0,
        reports_per_epoch=2,
        ranking=True,
        listener=Listening(
            on_report=reports.append,
            on_progress=lambda epoch, epochs, metrics: progress.append((epoch, epochs)),
        ),
        clock=clock,
    )

    assert result.history[-1]["val_accuracy"] > 0.8
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in result.history] == [16, 32, 48, 64, 80]
    assert set(result.history[0]) == {
        "epoch",
        "step",
        "learning_rate",
        "seconds",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "val_balanced_accuracy",
        "val_macro_f1",
        "val_auc",
        "val_average_precision",
    }
    # An epoch of less than a minute reports only at its end; a step is half an epoch.
    assert [(report.step, report.epoch) for report in reports] == [
        (2, 1.0),
        (4, 2.0),
        (6, 3.0),
        (8, 4.0),
        (10, 5.0),
    ]
    assert reports[-1].metrics["val_accuracy"] == result.history[-1]["val_accuracy"]
    assert progress[-1] == (5, 5)
    assert (result.epochs_trained, result.best["epoch"]) == (5, 5)
    assert result.parameters == build_model(result.candidate.model, spec).count_params()
    assert result.images_per_second > 0
    assert min(clock.seconds[name] for name in ("training", "validation", "compiling")) > 0
    assert sum(clock.seconds.values()) <= result.seconds
    # The model is the network that was validated.
    assert _accuracy(result.model, validation) == pytest.approx(
        result.history[-1]["val_accuracy"], abs=0.01
    )


def test_without_validation_nothing_is_validated(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    made = candidate(epochs=2, schedule="plateau", early_stopping=1)

    result = fit(made, digits[0], spec=spec, seed=0)

    assert result.epochs_trained == 2
    assert not [name for name in result.history[0] if name.startswith("val_")]


def test_a_seed_repeats_a_training_and_another_does_not(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    made = candidate(epochs=1, dropout=0.2, augmentation=Augmentation(crop_padding=2))

    first, again, other = (
        fit(made, digits[0], spec=spec, seed=seed, compute=Compute(precision="float32"))
        for seed in (3, 3, 4)
    )

    assert first.history[0]["loss"] == again.history[0]["loss"]
    assert all(np.array_equal(a, b) for a, b in zip(first.weights, again.weights, strict=True))
    assert first.history[0]["loss"] != other.history[0]["loss"]


def test_early_stopping_ends_with_the_best_weights(
    digits: Digits, contrary: Subset, spec: InputSpec, candidate: Make
) -> None:
    made = candidate(epochs=9, schedule="constant", early_stopping=2)

    result = fit(made, digits[0], spec=spec, validation=contrary, seed=0)

    losses = [row["val_loss"] for row in result.history]
    assert losses == sorted(losses)
    assert len(losses) == 3
    assert result.best["epoch"] == 1
    images, labels = contrary.gather(slice(None))
    found = classification_metrics(result.model.predict(images, verbose=0), labels)
    assert found["loss"] == pytest.approx(losses[0], rel=0.03)
    assert losses[1] > 1.1 * losses[0]


@pytest.mark.parametrize("precision", ["auto", "float16"])
def test_the_plateau_schedule_halves_the_rate(
    precision: Precision, digits: Digits, contrary: Subset, spec: InputSpec, candidate: Make
) -> None:
    made = candidate(epochs=5, schedule="plateau", learning_rate=0.01)

    result = fit(
        made,
        digits[0],
        spec=spec,
        validation=contrary,
        seed=0,
        compute=Compute(precision=precision),
    )

    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005])


def test_a_loss_that_is_no_number_ends_the_training_at_once(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    made = candidate(
        optimizer="sgd", learning_rate=1e30, schedule="constant", normalization="none", epochs=50
    )
    reports: list[ValidationReport] = []

    with pytest.raises(NonFiniteLossError, match=r"the loss became (nan|inf) at batch \d"):
        fit(
            made,
            digits[0],
            spec=spec,
            validation=digits[1],
            seed=0,
            listener=Listening(on_report=reports.append),
        )
    assert len(reports) <= 1


def test_running_out_of_memory_is_a_trials_failure(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    def refuse(epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        raise MemoryError("no more")

    with pytest.raises(OutOfMemoryError, match="MemoryError with batches of 64 images"):
        fit(candidate(), digits[0], spec=spec, seed=0, listener=Listening(on_progress=refuse))


def test_any_other_error_passes_as_it_is(digits: Digits, spec: InputSpec, candidate: Make) -> None:
    clock = Clock()

    def stop(report: ValidationReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            candidate(),
            digits[0],
            spec=spec,
            seed=0,
            listener=Listening(on_report=stop),
            clock=clock,
        )
    assert clock._stack == []


def test_class_weights_balance_rare_classes(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    train, _ = digits
    labels = train.labels[train.indices]
    rare, common = np.flatnonzero(labels == 1), np.flatnonzero(labels == 8)
    skewed = Subset(train.images, train.labels, train.indices[np.r_[rare[:4], common]])
    rest = Subset(train.images, train.labels, train.indices[rare[4:]])

    plain, balanced = (
        _probabilities(
            fit(
                candidate(class_weights=weights, epochs=3, batch_size=16),
                skewed,
                spec=spec,
                seed=0,
            ).model,
            rest,
        )[:, 1].mean()
        for weights in ("none", "balanced")
    )

    assert balanced > plain + 0.1


def test_label_smoothing_keeps_the_network_from_certainty(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    train, _ = digits
    certain, smooth = (
        _probabilities(
            fit(
                candidate(epochs=4, batch_size=32, label_smoothing=smoothing),
                train,
                spec=spec,
                seed=0,
            ).model,
            train,
        ).max(axis=1)
        for smoothing in (0.0, 0.4)
    )

    # The target of the right class is 0.6 + 0.4 / 10.
    assert np.median(certain) > 0.85
    assert 0.5 < np.median(smooth) < 0.72


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_slow_epoch_reports_at_fixed_fractions(
    steps: int,
    digits: Digits,
    spec: InputSpec,
    candidate: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from search.training import callbacks

    monkeypatch.setattr(
        callbacks, "EpochRecord", partial(callbacks.EpochRecord, slow_epoch_seconds=0.0)
    )
    reports: list[ValidationReport] = []

    result = fit(
        candidate(epochs=2),
        digits[0],
        spec=spec,
        validation=digits[1],
        seed=0,
        reports_per_epoch=steps,
        listener=Listening(on_report=reports.append),
    )

    assert [report.step for report in reports] == list(range(1, 2 * steps + 1))
    assert [report.epoch for report in reports] == [report.step / steps for report in reports]
    assert all("val_accuracy" in report.metrics for report in reports)
    assert len(result.history) == 2
    assert reports[-1].metrics["val_loss"] == result.history[-1]["val_loss"]


def test_a_report_in_the_middle_of_an_epoch_changes_nothing(
    digits: Digits, spec: InputSpec, candidate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.training import callbacks

    options: dict[str, Any] = {
        "spec": spec,
        "validation": digits[1],
        "seed": 0,
        "reports_per_epoch": 4,
        "compute": Compute(precision="float32"),
    }
    made = candidate(epochs=1, dropout=0.3)
    quick = fit(made, digits[0], **options)

    monkeypatch.setattr(
        callbacks, "EpochRecord", partial(callbacks.EpochRecord, slow_epoch_seconds=0.0)
    )
    slow = fit(made, digits[0], **options)

    assert all(np.array_equal(a, b) for a, b in zip(quick.weights, slow.weights, strict=True))


def test_mixed_precision_trains_a_float32_model_without_augmentation(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    import keras

    train, validation = digits
    augmentation = Augmentation(
        horizontal_flip=True,
        crop_padding=2,
        translation=0.1,
        rotation=10,
        zoom=0.1,
        contrast=0.1,
        brightness=0.1,
        erasing=0.1,
        mixup=0.2,
        cutmix=0.5,
    )
    made = candidate(epochs=2, dropout=0.1, augmentation=augmentation)

    result = fit(
        made, train, spec=spec, validation=validation, seed=0, compute=Compute(precision="bfloat16")
    )

    model = result.model
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    kinds = {type(layer).__name__ for layer in model._flatten_layers()}
    assert not [kind for kind in kinds if kind.startswith(("Random", "Mix", "Cut"))]
    assert len(model.layers) == len(build_model(made.model, spec).layers)
    images, _ = validation.gather(slice(None))
    # With augmentation layers, two plain calls would differ.
    np.testing.assert_array_equal(np.asarray(model(images)), np.asarray(model(images)))
    assert keras.config.dtype_policy().name == "float32"


def test_float16_learns(digits: Digits, spec: InputSpec, candidate: Make) -> None:
    made = candidate(epochs=5, batch_size=32)

    result = fit(
        made,
        digits[0],
        spec=spec,
        validation=digits[1],
        seed=0,
        compute=Compute(precision="float16"),
    )

    assert result.history[-1]["val_accuracy"] > 0.8


def test_gradients_too_small_for_float16_move_weights(
    digits: Digits, spec: InputSpec, candidate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Divided by the batch size, a logit's gradient is below 1e-8; the smallest float16 is 6e-8.
    small = np.full(10, 1e-6, np.float32)
    # Imported by name, because the package's attribute may be a function of the same name.
    module = importlib.import_module("search.training.phase")
    monkeypatch.setattr(module, "class_weights", lambda *arguments: small)
    made = candidate(
        epochs=1, optimizer="sgd", learning_rate=1.0, schedule="constant", normalization="none"
    )
    few = Subset(digits[0].images, digits[0].labels, digits[0].indices[:64])

    result = fit(made, few, spec=spec, seed=0, compute=Compute(precision="float16"))

    before = build_model(made.model, spec, seed=0).get_weights()
    assert all((a != b).any() for a, b in zip(result.weights, before, strict=True))


@pytest.mark.skipif(backend_name() != "tensorflow", reason="looks at TensorFlow's data set")
def test_no_thread_tunes_the_input(
    digits: Digits, spec: InputSpec, candidate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.training.network import TrainingNetwork

    def stop(network: TrainingNetwork, batches: Any, **options: Any) -> None:
        assert not batches.options().autotune.enabled
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingNetwork, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(candidate(), digits[0], spec=spec, seed=0)


def test_augmentation_changes_the_training_and_labels_follow(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    plain = fit(candidate(epochs=1), digits[0], spec=spec, seed=0)
    mixed = fit(
        candidate(epochs=1, augmentation=Augmentation(mixup=0.4, cutmix=1.0)),
        digits[0],
        spec=spec,
        seed=0,
    )

    assert mixed.history[0]["loss"] > plain.history[0]["loss"]


def test_a_share_smaller_than_a_batch_is_one_batch(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    few = Subset(digits[0].images, digits[0].labels, digits[0].indices[:20])

    result = fit(candidate(epochs=2, batch_size=64), few, spec=spec, seed=0)

    assert result.epochs_trained == 2


def test_our_batch_normalisation_serves_a_short_training(
    digits: Digits, spec: InputSpec, candidate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.training import network

    made = candidate(filters=16, depth=4, batch_size=32, schedule="constant", epochs=3)
    options: dict[str, Any] = {"spec": spec, "validation": digits[1], "seed": 0}

    # The last row's statistics are recomputed.
    *_, ours, _ = fit(made, digits[0], **options).history
    monkeypatch.setattr(network, "set_batch_normalization_momentum", lambda *arguments: None)
    *_, keras_default, at_the_end = fit(made, digits[0], **options).history

    # Both train alike; only the statistics used in validation differ.
    assert keras_default["accuracy"] == pytest.approx(ours["accuracy"], abs=0.05)
    assert keras_default["val_accuracy"] < 0.45
    assert ours["val_accuracy"] > 0.8
    assert at_the_end["val_accuracy"] > 0.8
