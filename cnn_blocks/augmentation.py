"""Augmentation as data, and the layers it means during training."""

from typing import TYPE_CHECKING, Annotated, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, NonNegativeInt

from cnn_blocks.config import Configuration, Strength

if TYPE_CHECKING:
    import keras


class Augmentation(Configuration):
    """Which random changes training images go through; zero switches a change off.

    Never part of a saved model: Keras' augmentation layers act outside of training as well.

    Attributes:
        horizontal_flip: Mirrors half of the images.
        crop_padding: Pads each side by so many zero pixels and crops back at a random place
            of each image's own (He et al., 2015).
        translation: Largest shift, as a fraction of the image's size.
        rotation: Largest turn, in degrees.
        zoom: Largest change of scale, as a fraction.
        contrast: Largest change of contrast, as a fraction.
        brightness: Largest change of brightness, as a fraction of the value range.
        randaugment: Magnitude of two random operations an image, shifts to solarisation, as a
            fraction of the largest (Cubuk et al., 2019).
        augmix: Severity of the chains of operations that an image is mixed with, as a fraction
            of the largest (Hendrycks et al., 2019).
        erasing: Largest share of the area that noise replaces in half of the images (Zhong et
            al., 2017).
        mixup: Alpha of the Beta distribution that blends pairs of images and their labels (Zhang
            et al., 2017).
        cutmix: Alpha of the Beta distribution that sizes the patch pasted from another image,
            labels in proportion (Yun et al., 2019).
    """

    horizontal_flip: Annotated[bool, CategoricalDistribution([False, True])] = False
    crop_padding: Annotated[NonNegativeInt, IntDistribution(0, 8)] = 0
    translation: Annotated[float, Field(ge=0, le=1), FloatDistribution(0.0, 0.2)] = 0.0
    rotation: Annotated[float, Field(ge=0, le=180), FloatDistribution(0.0, 20.0)] = 0.0
    zoom: Annotated[float, Field(ge=0, lt=1), FloatDistribution(0.0, 0.2)] = 0.0
    contrast: Annotated[float, Field(ge=0, le=1), FloatDistribution(0.0, 0.4)] = 0.0
    brightness: Annotated[float, Field(ge=0, le=1), FloatDistribution(0.0, 0.3)] = 0.0
    randaugment: Annotated[float, Field(ge=0, le=1), FloatDistribution(0.0, 0.8)] = 0.0
    augmix: Annotated[float, Field(ge=0, le=1), FloatDistribution(0.0, 0.8)] = 0.0
    erasing: Annotated[float, Field(ge=0, lt=1), FloatDistribution(0.0, 0.3)] = 0.0
    mixup: Annotated[Strength, FloatDistribution(0.0, 0.4)] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=1), FloatDistribution(0.0, 1.0)] = 0.0

    @property
    def mixes_labels(self) -> bool:
        """Whether labels change together with the images."""
        return self.mixup > 0 or self.cutmix > 0


def image_layers(
    augmentation: Augmentation, image_shape: tuple[int, ...]
) -> "list[keras.layers.Layer]":
    """Returns the layers that change images alone, cheapest first; input is [0, 255] float32."""
    from keras import layers

    chosen: list[Any] = []
    if augmentation.horizontal_flip:
        chosen.append(layers.RandomFlip("horizontal"))
    if augmentation.crop_padding:
        height, width = image_shape[:2]
        # A shift by whole pixels is the padded crop. Keras' RandomCrop takes one place for the
        # whole batch, this layer one for each image. Half a pixel makes all places equally likely.
        largest = augmentation.crop_padding + 0.5
        chosen.append(
            layers.RandomTranslation(
                min(1.0, largest / height),
                min(1.0, largest / width),
                fill_mode="constant",
                interpolation="nearest",
            )
        )
    if augmentation.translation:
        shift = augmentation.translation
        chosen.append(layers.RandomTranslation(shift, shift, fill_mode="constant"))
    if augmentation.rotation:
        chosen.append(layers.RandomRotation(augmentation.rotation / 360, fill_mode="constant"))
    if augmentation.zoom:
        chosen.append(layers.RandomZoom(augmentation.zoom, fill_mode="constant"))
    if augmentation.contrast:
        chosen.append(layers.RandomContrast(augmentation.contrast, value_range=(0, 255)))
    if augmentation.brightness:
        chosen.append(layers.RandomBrightness(augmentation.brightness, value_range=(0, 255)))
    if augmentation.randaugment or augmentation.augmix:
        from cnn_blocks.augmentation_policies import AugMix, RandAugment

        if augmentation.randaugment:
            chosen.append(RandAugment(augmentation.randaugment))
        if augmentation.augmix:
            chosen.append(AugMix(augmentation.augmix))
    if augmentation.erasing:
        chosen.append(
            layers.RandomErasing(
                # A single number would be the upper end of a random probability.
                factor=(0.5, 0.5),
                scale=(min(0.02, augmentation.erasing), augmentation.erasing),
                value_range=(0, 255),
            )
        )
    return chosen


def mixing_layers(augmentation: Augmentation) -> "list[keras.layers.Layer]":
    """Returns the layers that change images and one-hot labels together."""
    from keras import backend, layers

    chosen: list[Any] = []
    if augmentation.mixup:
        chosen.append(layers.MixUp(alpha=augmentation.mixup))
    if augmentation.cutmix:
        chosen.append(layers.CutMix(factor=(augmentation.cutmix, augmentation.cutmix)))
    for layer in chosen:
        # They draw from a gamma distribution, for which TensorFlow has no XLA kernel.
        layer.supports_jit = backend.backend() != "tensorflow"
    return chosen
