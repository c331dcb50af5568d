"""Predictions in batches."""

from typing import Any

import numpy as np
import pytest

from search.data import Subset
from search.progress.clock import Clock
from search.results.evaluate import predict
from search.training.prediction import predict_in_batches


@pytest.fixture
def model() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((2, 2, 3), dtype="uint8")
    outputs = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, outputs)


@pytest.fixture
def subset() -> Subset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (10, 2, 2, 3), dtype=np.uint8)
    return Subset(images, generator.integers(0, 4, 10), np.arange(10))


def test_they_are_those_of_keras(model: Any, subset: Subset) -> None:
    expected = model.predict(subset.images, batch_size=4, verbose=0)

    predicted = predict_in_batches(model, subset.images, batch_size=4)

    np.testing.assert_array_equal(predicted, expected)
    assert predicted.dtype == expected.dtype == np.float32


def test_nothing_makes_a_data_set_whose_tuning_would_have_to_end(
    model: Any, subset: Subset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from search.training.callbacks import Validation

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("Keras makes a data set")

    monkeypatch.setattr(keras.Model, "predict", refuse)

    assert predict(model, subset)[0].shape == (10, 4)
    assert Validation(model, subset.images, subset.labels, Clock())()["val_loss"] > 0
