"""The pieces of blocks compute the right values, also after saving and loading."""

import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.config import Initializer
from cnn_blocks.layers import convolve_depthwise, drop_branch, squeeze_and_excite


def _model(function: Any, shape: tuple[int, ...]) -> Any:
    import keras

    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs))


def test_a_dropped_branch_is_dropped_as_a_whole_and_otherwise_scaled(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    _model(lambda x: drop_branch(x, 0.25), (3, 3, 2)).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)

    for batch in (1, 7, 2000):
        images = np.random.default_rng(0).uniform(1, 2, (batch, 3, 3, 2)).astype(np.float32)
        trained = np.asarray(model(images, training=True))

        scales = (trained / images).reshape(batch, -1)
        assert set(np.unique(scales.round(4))) <= {0.0, np.float32(1.3333)}
        np.testing.assert_allclose(scales.min(axis=1), scales.max(axis=1), atol=1e-5)
        assert np.array_equal(np.asarray(model(images, training=False)), images)
    # 1500 of 2000 are expected to be kept; four standard deviations are 77.
    assert 1423 < (scales[:, 0] > 0).sum() < 1577


def test_no_rate_means_no_layer() -> None:
    assert len(_model(lambda x: drop_branch(x, 0.0), (3, 3, 2)).layers) == 1


@pytest.mark.parametrize("initializer", typing.get_args(Initializer))
def test_a_depthwise_kernel_starts_at_the_scale_of_its_own_inputs(initializer: Initializer) -> None:
    model = _model(
        lambda x: convolve_depthwise(x, kernel_size=3, initializer=initializer), (4, 4, 512)
    )

    # Each output has 3x3 inputs, regardless of the number of channels.
    variance = (2 if initializer.startswith("he") else 1) / 9
    assert np.var(model.get_weights()[0]) == pytest.approx(variance, rel=0.1)
    uniform = np.abs(model.get_weights()[0]).max() < (3 * variance) ** 0.5 * 1.001
    assert uniform == initializer.endswith("uniform")


def test_gates_scale_channels_by_what_all_of_them_hold() -> None:
    model = _model(lambda x: squeeze_and_excite(x, 2, "relu"), (3, 3, 4))
    images = np.random.default_rng(0).uniform(0.5, 1, (2, 3, 3, 4)).astype(np.float32)

    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    np.testing.assert_allclose(np.asarray(model(images)), images / 2, rtol=1e-6)

    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    means = images.mean(axis=(1, 2)).sum(axis=1) + 1
    gates = 1 / (1 + np.exp(-(2 * means + 1)))
    expected = images * gates[:, None, None, None]
    np.testing.assert_allclose(np.asarray(model(images)), expected, rtol=1e-5)
