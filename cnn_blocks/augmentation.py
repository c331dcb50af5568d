"""Augmentation as data, and the training layers that it describes."""

from typing import TYPE_CHECKING, Annotated, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, NonNegativeInt

from cnn_blocks.config import Configuration, Strength

if TYPE_CHECKING:
    import keras


class Augmentation(Configuration):
    """Random changes applied to training images; zero turns a change off.

    Never part of a saved model: Keras' augmentation layers would also act at inference.

    Attributes:
        horizontal_flip: Mirrors half of the images.
        crop_padding: Zero pixels added to each side before cropping back to the original size at a
            random position, drawn for each image (He et al., 2015).
        translation: Largest shift, as a fraction of the image size.
        rotation: Largest rotation, in degrees.
        zoom: Largest change of scale, as a fraction.
        contrast: Largest change of contrast, as a fraction.
        brightness: Largest change of brightness, as a fraction of the value range.
        randaugment: Magnitude of two random operations per image, such as shifts or solarisation,
            as a fraction of the largest magnitude (Cubuk et al., 2019).
        augmix: Severity of the chains of operations mixed into each image, as a fraction of the
            largest severity (Hendrycks et al., 2019).
        erasing: Largest fraction of the area replaced by noise, in half of the images (Zhong et
            al., 2017).
        mixup: Alpha of the Beta distribution for blending pairs of images and their labels (Zhang
            et al., 2017).
        cutmix: Alpha of the Beta distribution for the size of the patch pasted from another image;
            labels are mixed in proportion (Yun et al., 2019).
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
    """Returns the layers that change only images, cheapest first; input is float32 in [0, 255]."""
    from keras import layers

    chosen: list[Any] = []
    if augmentation.horizontal_flip:
        chosen.append(layers.RandomFlip("horizontal"))
    if augmentation.crop_padding:
        height, width = image_shape[:2]
        # A padded crop is a shift by whole pixels. Keras' RandomCrop draws one position per batch;
        # RandomTranslation draws one per image. The extra half pixel makes all positions equally
        # likely.
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
                # A single number would be the upper bound of a random probability.
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
        # These layers draw from a gamma distribution, which has no XLA kernel in TensorFlow.
        layer.supports_jit = backend.backend() != "tensorflow"
    return chosen
