"""Augmentation: every setting changes training images, each image differently."""

import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from cnn_blocks.augmentation import Augmentation, image_layers, mixing_layers

Images = npt.NDArray[np.float32]
SETTINGS: dict[str, Any] = {
    "horizontal_flip": True,
    "crop_padding": 2,
    "translation": 0.2,
    "rotation": 20.0,
    "zoom": 0.2,
    "contrast": 0.4,
    "brightness": 0.3,
    "randaugment": 0.8,
    "augmix": 0.8,
    "erasing": 0.3,
}


@pytest.fixture(autouse=True)
def _same_draws_every_time() -> None:
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def image() -> Images:
    """One image, 12x16, in which all pixels differ."""
    return np.random.default_rng(0).permutation(12 * 16 * 3).reshape(12, 16, 3).astype(
        np.float32
    ) * np.float32(255 / 575)


def _augmented(images: Images, **settings: Any) -> Images:
    x: Any = images
    for layer in image_layers(Augmentation(**settings), images.shape[1:]):
        x = layer(x, training=True)
    return np.asarray(x)


def test_every_setting_is_tested() -> None:
    assert {*SETTINGS, "mixup", "cutmix"} == set(Augmentation.model_fields)


def test_nothing_is_on_by_default() -> None:
    assert image_layers(Augmentation(), (8, 8, 3)) == []
    assert mixing_layers(Augmentation()) == []
    assert not Augmentation().mixes_labels


@pytest.mark.parametrize("name", SETTINGS)
def test_each_image_of_a_batch_is_changed_in_its_own_way(name: str, image: Images) -> None:
    batch = np.repeat(image[np.newaxis], 32, axis=0)

    augmented = _augmented(batch, **{name: SETTINGS[name]})

    assert augmented.shape == batch.shape
    distinct = {result.tobytes() for result in augmented}
    assert len(distinct) == 2 if name == "horizontal_flip" else len(distinct) > 8
    assert augmented.min() >= 0
    assert augmented.max() <= 255


@pytest.mark.parametrize("name", SETTINGS)
def test_a_graph_draws_again_at_every_step(name: str, image: Images) -> None:
    layers = image_layers(Augmentation(**{name: SETTINGS[name]}), image.shape)
    augment = _graph(lambda images: layers[0](images, training=True), layers)
    batch = np.repeat(image[np.newaxis], 32, axis=0)

    first, second = augment(batch), augment(batch)

    assert first.shape == batch.shape
    assert not np.array_equal(first, second)
    assert len({result.tobytes() for result in first}) > 1


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_changes_outside_of_training(name: str, image: Images) -> None:
    (layer,) = image_layers(Augmentation(**{name: SETTINGS[name]}), image.shape)

    assert np.array_equal(layer(image[np.newaxis], training=False)[0], image)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_in_a_graph_draws_again_at_every_step(name: str) -> None:
    import keras

    layers = mixing_layers(Augmentation(**{name: 1.0}))

    def mix(labels: Any) -> Any:
        images = keras.ops.ones((8, 16, 16, 3)) * labels[:, :1, None, None]
        return layers[0]({"images": images, "labels": labels}, training=True)["labels"]

    mixed = _graph(mix, layers)
    labels = np.eye(8, dtype=np.float32)

    first, second = mixed(labels), mixed(labels)

    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("settings", [{"mixup": 0.2}, {"cutmix": 1.0}, {"augmix": 0.3}], ids=str)
def test_a_layer_without_kernels_for_xla_says_so(settings: dict[str, float]) -> None:
    augmentation = Augmentation(**settings)
    (layer,) = image_layers(augmentation, (8, 8, 3)) + mixing_layers(augmentation)

    # Keras then trains without XLA; with XLA, the first step would fail.
    assert not layer.supports_jit


def _graph(function: Callable[[Any], Any], layers: list[Any]) -> Callable[[Images], Images]:
    import keras

    class Graph(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = layers

        def call(self, x: Any) -> Any:
            return function(x)

    model = Graph()
    return lambda x: np.asarray(model.predict_on_batch(x))


def test_a_flip_mirrors_left_and_right(image: Images) -> None:
    flipped = _augmented(np.repeat(image[np.newaxis], 32, axis=0), horizontal_flip=True)

    for result in flipped:
        assert np.array_equal(result, image) or np.array_equal(result, image[:, ::-1])


def test_padded_crops_are_all_crops_of_the_padded_image(image: Images) -> None:
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    places = {
        padded[top : top + 12, left : left + 16].tobytes(): (top, left)
        for top in range(5)
        for left in range(5)
    }

    crops = _augmented(np.repeat(image[np.newaxis], 1000, axis=0), crop_padding=2)

    found = [places[crop.tobytes()] for crop in crops]
    assert set(found) == set(places.values())
    # 40 of each are expected; 15 and 70 are four standard deviations away.
    assert min(map(found.count, set(found))) > 15
    assert max(map(found.count, set(found))) < 70


def test_a_padding_larger_than_the_image_is_possible() -> None:
    assert _augmented(np.ones((4, 6, 6, 3), np.float32), crop_padding=8).shape == (4, 6, 6, 3)


@pytest.mark.parametrize("largest", [0.3, 0.01])
def test_erasing_hits_half_of_the_images_and_no_larger_area(largest: float) -> None:
    images = np.full((1000, 32, 32, 3), 100, np.float32)

    changed = (_augmented(images, erasing=largest) != 100).any(axis=-1).mean(axis=(1, 2))

    assert 0.43 < (changed > 0).mean() < 0.57
    # The patch's borders fall between pixels, so it may cover one more row and column.
    side = int(32 * largest**0.5) + 1
    assert changed.max() <= side**2 / 32**2


@pytest.mark.parametrize(
    "settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}], ids=str
)
def test_mixing_changes_labels_in_proportion_to_the_images(settings: dict[str, float]) -> None:
    # All pixels of an image have its class's value, so the mean shows the fraction of each class.
    values = np.array([0, 60, 120, 240], np.float32)
    classes = np.arange(64) % 4
    x: dict[str, Any] = {
        "images": np.broadcast_to(values[classes][:, None, None, None], (64, 64, 64, 3)).copy(),
        "labels": np.eye(4, dtype=np.float32)[classes],
    }
    augmentation = Augmentation(**settings)

    for layer in mixing_layers(augmentation):
        x = layer(x, training=True)

    labels = np.asarray(x["labels"])
    assert augmentation.mixes_labels
    assert ((labels.max(axis=1) < 0.95).sum()) > 10
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
    # A patch's borders fall between pixels: up to one of 64 rows and columns may be off.
    tolerance = 1e-2 if "cutmix" not in settings else 240 * 2 / 64
    np.testing.assert_allclose(
        np.asarray(x["images"]).mean(axis=(1, 2, 3)), labels @ values, atol=tolerance
    )


def test_cutmix_draws_the_share_from_its_beta_distribution() -> None:
    labels = np.eye(4000, dtype=np.float32)
    (layer,) = mixing_layers(Augmentation(cutmix=1.0))

    mixed = layer({"images": np.zeros((4000, 16, 16, 3), np.float32), "labels": labels})

    own = np.diag(np.asarray(mixed["labels"]))
    # Beta(1, 1) is uniform; a smaller alpha would concentrate the fractions at 0 and 1.
    assert np.abs(np.quantile(own, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.05


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop_padding", -1),
        ("translation", 1.1),
        ("rotation", 181),
        ("zoom", 1.0),
        ("contrast", -0.1),
        ("brightness", 1.1),
        ("randaugment", 1.1),
        ("augmix", -0.1),
        ("erasing", 1.0),
        ("mixup", -0.1),
        ("cutmix", 1.5),
    ],
)
def test_an_impossible_strength_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        Augmentation(**typing.cast("dict[str, Any]", {name: value}))
