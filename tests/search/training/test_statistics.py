"""Batch normalisation ends with statistics without dropout, of images augmented as in training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnn_blocks.augmentation import Augmentation, image_layers
from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec
from search.data import Subset
from search.system.runtime import Compute
from search.training import FitResult, fit
from search.training.statistics import recompute_statistics
from spaces.candidate import Candidate

Digits = tuple[Subset, Subset]
Make = Callable[..., Candidate]


def _normalizing(model: Any) -> list[Any]:
    import keras

    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _inputs(model: Any, layer: Any, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns a layer's inputs for some images, (values, channels)."""
    import keras

    values = np.asarray(keras.Model(model.input, layer.input)(images))
    return values.reshape(-1, values.shape[-1])


def _assert_describes(model: Any, images: npt.NDArray[Any]) -> None:
    """Asserts that the statistics are those of the layers' inputs for these images."""
    for layer in _normalizing(model):
        values = _inputs(model, layer, images)
        deviation = values.std(axis=0)
        shift = (np.asarray(layer.moving_mean) - values.mean(axis=0)) / (deviation + 1e-3)
        assert np.abs(shift).max() < 0.1
        np.testing.assert_allclose(layer.moving_variance, deviation**2, rtol=0.15, atol=1e-4)


@pytest.mark.parametrize("images", [20, 100, 512], ids="{} images".format)
def test_the_statistics_are_those_of_clean_images(
    images: int, digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    subset = Subset(digits[0].images, digits[0].labels, digits[0].indices[:images])
    model = build_model(candidate(dropout=0.5, depth=2).model, spec, seed=0)
    clean, _ = subset.gather(np.arange(images))

    assert recompute_statistics(model, subset, batch_size=64, seed=0)

    _assert_describes(model, clean)
    first = _normalizing(model)[0]
    # Batches have equal sizes, so the average of their means is the mean.
    np.testing.assert_allclose(
        first.moving_mean, _inputs(model, first, clean).mean(axis=0), rtol=0.02, atol=0.02
    )


def test_the_images_are_changed_as_in_training(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    model = build_model(candidate(dropout=0.5).model, spec, seed=0)
    clean, _ = digits[0].gather(np.arange(512))

    recompute_statistics(
        model, digits[0], batch_size=64, seed=0, augment=lambda images: images // 2 + 20
    )

    _assert_describes(model, clean // 2 + 20)


def test_they_do_not_depend_on_those_before_nor_on_chance(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    model = build_model(candidate(dropout=0.5).model, spec, seed=0)
    found = []
    for start in (0.0, 1000.0):
        for layer in _normalizing(model):
            layer.moving_mean.assign(np.full(layer.moving_mean.shape, start))
        recompute_statistics(model, digits[0], batch_size=64, seed=0)
        found.append(model.get_weights())

    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fails", [False, True])
def test_rates_and_momenta_are_as_before(
    fails: bool, digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    model = build_model(candidate(dropout=0.3).model, spec, seed=0)
    for number, layer in enumerate(_normalizing(model)):
        layer.momentum = 0.7 + number / 10

    if fails:
        larger = np.zeros((len(digits[0].labels), 17, 17, 3), np.uint8)
        wrong = Subset(larger, digits[0].labels, digits[0].indices)
        with pytest.raises(ValueError, match="17"):
            recompute_statistics(model, wrong, batch_size=64, seed=0)
    else:
        recompute_statistics(model, digits[0], batch_size=64, seed=0)

    rates = [layer.rate for layer in model.layers if hasattr(layer, "rate")]
    assert rates == [0.3, 0.3]
    assert [layer.momentum for layer in _normalizing(model)] == pytest.approx([0.7, 0.8])


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_a_network_without_batch_normalisation_stays_as_it_is(
    normalization: str, digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    model = build_model(candidate(normalization=normalization, dropout=0.3).model, spec, seed=0)
    before = model.get_weights()

    assert not recompute_statistics(model, digits[0], batch_size=64, seed=0)

    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_layers_keep_their_own(digits: Digits, spec: InputSpec, candidate: Make) -> None:
    model = build_model(candidate().model, spec, seed=0)
    first, second = _normalizing(model)
    first.trainable = False

    recompute_statistics(model, digits[0], batch_size=64, seed=0)

    np.testing.assert_array_equal(first.moving_mean, np.zeros(8))
    assert np.abs(np.asarray(second.moving_mean)).max() > 0


@pytest.mark.parametrize("length", [{"epochs": 2}, {"steps": 10}], ids=["epochs", "steps"])
def test_a_training_ends_with_them_and_is_judged_by_them(
    length: dict[str, int], digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    train, validation = digits
    compute = Compute(precision="float32")

    result = fit(
        candidate(dropout=0.4, **length),
        train,
        spec=spec,
        validation=validation,
        seed=0,
        compute=compute,
    )

    _assert_describes(result.model, train.gather(np.arange(len(train)))[0])
    assert _accuracy(result.model, validation) == result.history[-1]["val_accuracy"]


def test_an_augmented_training_ends_with_the_statistics_of_augmented_images(
    digits: Digits, spec: InputSpec, candidate: Make
) -> None:
    train, validation = digits
    clean, _ = train.gather(np.arange(len(train)))
    augmentation = Augmentation(brightness=0.5, crop_padding=3)
    changed = clean.astype("float32")
    for layer in image_layers(augmentation, clean.shape[1:]):
        changed = layer(changed, training=True)
    made = candidate(dropout=0.4, steps=10, augmentation=augmentation)

    result = fit(
        made, train, spec=spec, validation=validation, seed=0, compute=Compute(precision="float32")
    )

    first = _normalizing(result.model)[0]
    means = [
        _inputs(result.model, first, np.asarray(each)).mean(axis=0) for each in (changed, clean)
    ]
    augmented, untouched = (np.abs(first.moving_mean - mean).max() for mean in means)
    assert augmented < 0.5 * untouched
    assert _accuracy(result.model, validation) == result.history[-1]["val_accuracy"]


@pytest.mark.usefixtures("saved_at_once")
def test_the_best_epochs_weights_come_with_their_own_statistics(
    digits: Digits, contrary: Subset, spec: InputSpec, candidate: Make, tmp_path: Path
) -> None:
    made = candidate(epochs=8, early_stopping=2, schedule="constant", dropout=0.2)

    def train() -> FitResult:
        return fit(
            made,
            digits[0],
            spec=spec,
            validation=contrary,
            seed=0,
            compute=Compute(precision="float32"),
            checkpoint_directory=tmp_path,
        )

    result = train()

    assert result.best["epoch"] < result.epochs_trained < 8
    _assert_describes(result.model, digits[0].gather(np.arange(512))[0])
    assert _accuracy(result.model, contrary) == result.best["val_accuracy"]
    again = train()
    assert again.best == result.best
    for a, b in zip(again.weights, result.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def _accuracy(model: Any, subset: Subset) -> float:
    images, labels = subset.gather(np.arange(len(subset)))
    return float((model.predict(images, verbose=0).argmax(axis=1) == labels).mean())
