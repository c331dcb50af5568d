"""The first convolution starts with the principal components of the images' patches."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec
from search.data import Subset
from search.training.fit import fit
from search.training.whitening import whiten_first_convolution
from spaces.candidate import Candidate
from spaces.reference import reference_model, reference_training

SPEC = InputSpec(image_shape=(16, 16, 3), class_names=("left", "right"))


@pytest.fixture
def colours() -> Subset:
    """Smooth random images in colour."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (60, 16, 16, 3))
    for axis in (1, 2):
        images = (images + np.roll(images, 1, axis)) / 2
    return _subset(images)


def _subset(images: npt.NDArray[Any]) -> Subset:
    return Subset(images.astype(np.uint8), np.arange(len(images)) % 2, np.arange(len(images)))


def _network() -> tuple[Any, Any]:
    """Returns a network and its first convolution."""
    import keras

    network = build_model(reference_model(), SPEC, seed=0)
    layers = network._flatten_layers()
    return network, next(layer for layer in layers if isinstance(layer, keras.layers.Conv2D))


def _responses(network: Any, layer: Any, subset: Subset) -> npt.NDArray[np.float32]:
    """Returns the first convolution's outputs (pixels, filters), without the padded border."""
    import keras

    outputs = keras.Model(network.input, layer.output)(subset.images)
    inside: npt.NDArray[np.float32] = keras.ops.convert_to_numpy(outputs)[:, 1:-1, 1:-1]
    return inside.reshape(-1, inside.shape[-1])


def test_the_first_outputs_are_uncorrelated_and_in_pairs(colours: Subset) -> None:
    network, layer = _network()
    before = np.linalg.norm(layer.kernel.numpy().reshape(27, 24), axis=0).mean()

    assert whiten_first_convolution(network, colours)

    kernel = layer.kernel.numpy().reshape(27, 24)
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), before, rtol=1e-5)
    np.testing.assert_array_equal(kernel[:, :12], -kernel[:, 12:])
    correlation = np.corrcoef(_responses(network, layer, colours)[:, :12], rowvar=False)
    assert np.abs(correlation - np.eye(12)).max() < 0.15


def test_grey_images_leave_filters_random(colours: Subset) -> None:
    grey = _subset(np.repeat(colours.images.mean(-1, keepdims=True), 3, axis=-1))
    network, layer = _network()
    before = layer.kernel.numpy()

    assert whiten_first_convolution(network, grey)

    unchanged = (layer.kernel.numpy() == before).all((0, 1, 2))
    assert list(unchanged) == [False] * 18 + [True] * 6


@pytest.mark.parametrize("images", [1, 2])
def test_the_fewest_images_suffice(colours: Subset, images: int) -> None:
    network, layer = _network()

    assert whiten_first_convolution(network, _subset(colours.images[:images]))

    assert np.isfinite(layer.kernel.numpy()).all()


def test_images_of_one_colour_change_nothing() -> None:
    network, layer = _network()
    before = layer.kernel.numpy()

    whiten_first_convolution(network, _subset(np.full((4, 16, 16, 3), 7.0)))

    np.testing.assert_array_equal(layer.kernel.numpy(), before)


def test_only_a_training_that_asks_for_it_starts_so(colours: Subset) -> None:
    def first_filters(*, whitening: bool) -> npt.NDArray[np.float32]:
        training = reference_training(epochs=1, whitening=whitening, learning_rate=1e-9)
        result = fit(
            Candidate(model=reference_model(), training=training), colours, spec=SPEC, seed=0
        )
        kernel: npt.NDArray[np.float32] = next(
            weight.numpy() for weight in result.model.trainable_weights
        )
        return kernel

    network, layer = _network()
    np.testing.assert_allclose(first_filters(whitening=False), layer.kernel.numpy(), atol=1e-5)
    whiten_first_convolution(network, colours)
    np.testing.assert_allclose(first_filters(whitening=True), layer.kernel.numpy(), atol=1e-5)


def test_a_network_that_begins_otherwise_stays_as_it_is(colours: Subset) -> None:
    import keras

    inputs = keras.Input((16, 16, 3))
    inner = keras.Sequential([keras.layers.Conv2D(8, 3), keras.layers.GlobalMaxPooling2D()])
    for first in (inner, keras.layers.Flatten(), keras.layers.DepthwiseConv2D(3)):
        outputs = keras.layers.Dense(2)(keras.layers.Flatten()(first(inputs)))

        assert not whiten_first_convolution(keras.Model(inputs, outputs), colours)
