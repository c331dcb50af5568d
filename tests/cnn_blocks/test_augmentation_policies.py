"""RandAugment and AugMix: each operation does what its name says, in proportion to its strength."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Images = npt.NDArray[np.float32]


@pytest.fixture
def images() -> Images:
    """16 images of 12x10 pixels with integer values."""
    values = np.random.default_rng(0).integers(20, 200, (16, 12, 10, 3))
    return values.astype(np.float32)


def _operation(images: Images, name: str, strength: float) -> Images:
    import keras

    from cnn_blocks import augmentation_policies as policies

    names = policies.RandAugment.CHOICES
    changed = policies._transform(
        images,
        names,
        np.full(len(images), names.index(name)),
        np.full(len(images), strength, np.float32),
        keras.random.SeedGenerator(0),
    )
    return np.asarray(changed)


def _names(*left_out: str) -> list[str]:
    names = ["shear_x", "shear_y", "translate_x", "translate_y", "rotate", "auto_contrast"]
    names += ["equalize", "posterize", "solarize", "color", "contrast", "brightness", "sharpness"]
    return [name for name in names if name not in left_out]


def test_every_operation_is_tested() -> None:
    from cnn_blocks.augmentation_policies import AugMix, RandAugment

    assert ["identity", *_names()] == list(RandAugment.CHOICES)
    assert set(AugMix.CHOICES) < set(RandAugment.CHOICES)


def test_the_identity_changes_nothing(images: Images) -> None:
    assert np.array_equal(_operation(images, "identity", 1.0), images)


@pytest.mark.parametrize("name", _names("auto_contrast", "equalize"))
def test_an_operation_starts_at_nothing_and_grows(name: str, images: Images) -> None:
    changes = [
        float(np.abs(_operation(images, name, strength) - images).mean())
        for strength in (0.0, 0.3, 1.0)
    ]

    assert changes[0] < 1e-3
    assert changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("name", _names("auto_contrast", "equalize", "posterize", "solarize"))
def test_an_operation_goes_both_ways(name: str, images: Images) -> None:
    same = np.repeat(images[:1], 16, axis=0)

    assert len({image.tobytes() for image in _operation(same, name, 0.5)}) == 2


def test_a_translation_moves_by_its_share_of_the_size() -> None:
    images = np.zeros((16, 20, 20, 3), np.float32)
    images[:, 10, 10] = 200

    moved = _operation(images, "translate_x", 0.5)

    # Half of the largest 30% of 20 pixels.
    assert {int(np.argmax(image[10, :, 0])) for image in moved} == {7, 13}


def test_a_turn_keeps_the_centre() -> None:
    images = np.zeros((4, 21, 21, 3), np.float32)
    images[:, 10] = 200

    turned = _operation(images, "rotate", 1.0)

    np.testing.assert_allclose(turned[:, 10, 10], 200, atol=1e-2)
    # After 30 degrees the line is 10 tan(30) = 5.8 rows up at one end, and down at the other.
    ends = {int(np.argmax(image[:, 1, 0])) for image in turned}
    assert ends <= {4, 5, 15, 16}
    assert len(ends) == 2


def test_auto_contrast_spans_the_whole_range_of_each_channel(images: Images) -> None:
    changed = _operation(images, "auto_contrast", 0.1)

    np.testing.assert_allclose(changed.min(axis=(1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(changed.max(axis=(1, 2)), 255, atol=1e-3)


def test_equalisation_makes_values_follow_their_ranks(images: Images) -> None:
    changed = _operation(images, "equalize", 0.1)

    for before, after in zip(images[..., 0], changed[..., 0], strict=True):
        ranks = np.searchsorted(np.sort(before.ravel()), before.ravel(), side="right")
        lowest = ranks.min()
        expected = (ranks - lowest) * 255 / (before.size - lowest)
        np.testing.assert_allclose(after.ravel(), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["auto_contrast", "equalize"])
def test_an_image_of_one_colour_stays(name: str) -> None:
    images = np.full((2, 4, 4, 3), 77, np.float32)

    assert np.array_equal(_operation(images, name, 1.0), images)


def test_posterising_keeps_the_highest_bits(images: Images) -> None:
    np.testing.assert_allclose(_operation(images, "posterize", 1.0), images // 16 * 16, atol=1e-3)


def test_solarising_inverts_what_is_bright(images: Images) -> None:
    expected = np.where(images >= 128, 255 - images, images)

    np.testing.assert_allclose(_operation(images, "solarize", 0.5), expected, atol=1e-3)
    np.testing.assert_allclose(_operation(images, "solarize", 1.0), 255 - images, atol=1e-3)


def test_brightness_scales_and_colour_fades_to_grey_or_away(images: Images) -> None:
    brighter = _operation(images, "brightness", 1.0)
    ratios = brighter.mean(axis=(1, 2, 3)) / images.mean(axis=(1, 2, 3))
    faded = np.ptp(_operation(images, "color", 1.0), axis=-1).mean(axis=(1, 2))
    spread = np.ptp(images, axis=-1).mean(axis=(1, 2))

    assert ratios.min() == pytest.approx(0.1, abs=1e-3)
    assert ratios.max() > 1.4
    assert (faded / spread).min() == pytest.approx(0.1, abs=1e-2)
    assert (faded / spread).max() > 1.2


@pytest.mark.parametrize("policy", ["RandAugment", "AugMix"])
def test_the_same_seed_repeats_a_policy(policy: str, images: Images) -> None:
    from cnn_blocks import augmentation_policies as policies

    layer: Any = getattr(policies, policy)(0.5)
    state = np.asarray(layer.seed_generator.state)

    first = np.asarray(layer(images, training=True))
    other = np.asarray(layer(images, training=True))
    layer.seed_generator.state.assign(state)
    again = np.asarray(layer(images, training=True))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_augmix_stays_nearer_to_the_image_than_its_chains(images: Images) -> None:
    import keras

    from cnn_blocks.augmentation_policies import AugMix

    keras.utils.set_random_seed(0)
    layer = AugMix(1.0)
    batch = np.repeat(images, 16, axis=0)

    mixed = np.abs(np.asarray(layer(batch, training=True)) - batch).mean()
    chained = np.abs(np.asarray(layer._chain(batch)) - batch).mean()

    # Half of the change on average, and three chains partly cancel each other.
    assert 0.15 < mixed / chained < 0.6
