"""RandAugment and AugMix as training-only layers that draw operations for each image.

Keras 3.15 has layers with these names, but they differ from the papers. They draw the operations
once per batch (AugMix once per training, when its graph is traced). They shift, rotate and brighten
in one direction only. They solarise and posterise more strongly the smaller their factor is.
"""

import math
from typing import Any

import keras
from keras import ops

GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
TONAL = ("auto_contrast", "equalize", "posterize", "solarize")
ENHANCING = ("color", "contrast", "brightness", "sharpness")
LARGEST_SHEAR = 0.3
LARGEST_TRANSLATION = 0.3
LARGEST_ROTATION = math.pi / 6
LARGEST_ENHANCEMENT = 0.9
MOST_BITS_LOST = 4
# TensorFlow has no XLA kernel for geometric operations.
_HAS_KERNELS = keras.backend.backend() != "tensorflow"


class RandAugment(keras.layers.Layer):  # type: ignore[misc]
    """Applies two random operations to each image (Cubuk et al., 2019).

    Takes and returns (N, H, W, 3) float32 in [0, 255]. `strength` in [0, 1] is the paper's
    magnitude divided by its maximum.
    """

    CHOICES = ("identity", *GEOMETRIC, *TONAL, *ENHANCING)
    OPERATIONS = 2

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.seed_generator = keras.random.SeedGenerator()
        self.supports_jit = _HAS_KERNELS

    def call(self, images: Any, training: bool = False) -> Any:
        """Augments the images if `training` is true; otherwise returns them unchanged."""
        if not training:
            return images
        for _ in range(self.OPERATIONS):
            chosen = _draw_indices(images, len(self.CHOICES), self.seed_generator)
            strength = ops.full_like(images[:, 0, 0, 0], self.strength)
            images = _transform(images, self.CHOICES, chosen, strength, self.seed_generator)
        return images


class AugMix(keras.layers.Layer):  # type: ignore[misc]
    """Mixes each image with three chains of up to three operations (Hendrycks et al., 2019).

    Takes and returns (N, H, W, 3) float32 in [0, 255]. `strength` in [0, 1] is the paper's
    severity divided by its maximum; each operation draws its own strength up to it. The paper's
    consistency loss is not included.
    """

    CHOICES = (*GEOMETRIC, *TONAL)
    CHAINS = 3
    LONGEST = 3

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.seed_generator = keras.random.SeedGenerator()
        self.supports_jit = _HAS_KERNELS

    def call(self, images: Any, training: bool = False) -> Any:
        """Augments the images if `training` is true; otherwise returns them unchanged."""
        if not training:
            return images
        # The paper sets all parameters of both distributions (Dirichlet, Beta) to 1. Then they are
        # normalised exponential draws and a uniform draw.
        weights = [-ops.log(_draw(images, self.seed_generator) + 1e-7) for _ in range(self.CHAINS)]
        total = sum(weights)
        mixed = ops.zeros_like(images)
        for weight in weights:
            mixed += _per_image(weight / total) * self._chain(images)
        share = _per_image(_draw(images, self.seed_generator))
        return images + share * (mixed - images)

    def _chain(self, images: Any) -> Any:
        length = 1 + _draw_indices(images, self.LONGEST, self.seed_generator)
        for position in range(self.LONGEST):
            chosen = _draw_indices(images, len(self.CHOICES), self.seed_generator)
            chosen = ops.where(position < length, chosen, -1)
            strength = self.strength * _draw(images, self.seed_generator)
            images = _transform(images, self.CHOICES, chosen, strength, self.seed_generator)
        return images


def _transform(images: Any, choices: tuple[str, ...], chosen: Any, strength: Any, seed: Any) -> Any:
    """Applies to each image its chosen operation, an index (N,) into `choices`; -1 means none.

    `strength` is (N,) in [0, 1]. Operations with two directions use both with equal probability.
    """
    signed = ops.where(_draw(images, seed) < 0.5, -strength, strength)

    def level(name: str) -> Any:
        return ops.where(chosen == choices.index(name), signed, 0.0)

    images = _move(images, {name: level(name) for name in GEOMETRIC})
    changed = {
        "auto_contrast": _auto_contrast(images),
        "equalize": _equalize(images),
        "posterize": _posterize(images, strength),
        "solarize": _solarize(images, strength),
    }
    for name, operation in _DEGENERATES.items():
        if name in choices:
            factor = LARGEST_ENHANCEMENT * _per_image(signed)
            changed[name] = images + factor * (images - operation(images))
    result = images
    for name, image in changed.items():
        result = _where(_per_image(chosen == choices.index(name)), image, result)
    return ops.clip(result, 0.0, 255.0)


def _move(images: Any, levels: dict[str, Any]) -> Any:
    height, width = images.shape[1:3]
    angle = LARGEST_ROTATION * levels["rotate"]
    # Output pixel (x, y) comes from input (a0 x + a1 y + a2, b0 x + b1 y + b2).
    a0, a1 = ops.cos(angle), LARGEST_SHEAR * levels["shear_x"] - ops.sin(angle)
    b0, b1 = LARGEST_SHEAR * levels["shear_y"] + ops.sin(angle), ops.cos(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    a2 = x - a0 * x - a1 * y + LARGEST_TRANSLATION * width * levels["translate_x"]
    b2 = y - b0 * x - b1 * y + LARGEST_TRANSLATION * height * levels["translate_y"]
    zero = ops.zeros_like(angle)
    return ops.image.affine_transform(
        images, ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1), fill_mode="constant"
    )


def _auto_contrast(images: Any) -> Any:
    low = ops.min(images, axis=(1, 2), keepdims=True)
    spread = ops.max(images, axis=(1, 2), keepdims=True) - low
    return _where(spread > 0, (images - low) * (255 / ops.maximum(spread, 1e-3)), images)


def _equalize(images: Any) -> Any:
    count, height, width, channels = ops.shape(images)
    # One long histogram with 256 bins for each channel of each image.
    first = 256 * ops.reshape(ops.arange(count * channels), (count, 1, 1, channels))
    places = ops.reshape(first + ops.cast(images, "int32"), (-1,))
    counts = ops.segment_sum(
        ops.ones_like(places, dtype="float32"), places, num_segments=count * channels * 256
    )
    below = ops.reshape(ops.cumsum(ops.reshape(counts, (-1, 256)), axis=1), (-1,))
    ranks = ops.reshape(ops.take(below, places), (count, height, width, channels))
    darkest = ops.min(ranks, axis=(1, 2), keepdims=True)
    brighter = height * width - darkest
    return _where(brighter > 0, (ranks - darkest) * (255 / ops.maximum(brighter, 1)), images)


def _posterize(images: Any, strength: Any) -> Any:
    step = _per_image(2 ** ops.round(MOST_BITS_LOST * strength))
    return ops.floor(images / step) * step


def _solarize(images: Any, strength: Any) -> Any:
    return _where(images >= 256 * (1 - _per_image(strength)), 255 - images, images)


def _grey(images: Any) -> Any:
    return ops.sum(images * ops.array([0.299, 0.587, 0.114], "float32"), axis=-1, keepdims=True)


def _smooth(images: Any) -> Any:
    kernel = ops.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], "float32") / 13
    kernel = ops.tile(kernel[:, :, None, None], (1, 1, images.shape[-1], 1))
    return ops.depthwise_conv(images, kernel, padding="same")


# The image from which an enhancement extrapolates, or towards which it interpolates.
_DEGENERATES = {
    "color": _grey,
    "contrast": lambda images: ops.mean(_grey(images), axis=(1, 2), keepdims=True),
    "brightness": ops.zeros_like,
    "sharpness": _smooth,
}


def _where(condition: Any, chosen: Any, other: Any) -> Any:
    # Several times faster on CPUs than `ops.where`, which broadcasts slowly.
    return other + ops.cast(condition, "float32") * (chosen - other)


def _draw(images: Any, seed: Any) -> Any:
    return keras.random.uniform((ops.shape(images)[0],), seed=seed)


def _draw_indices(images: Any, count: int, seed: Any) -> Any:
    return ops.cast(ops.floor(count * _draw(images, seed)), "int32")


def _per_image(values: Any) -> Any:
    return values[:, None, None, None]
