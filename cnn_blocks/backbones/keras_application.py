"""The networks of keras.applications, trained on ImageNet."""

import difflib
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from cnn_blocks.pretrained import Pretrained, file_digest, require_digest, require_size
from cnn_blocks.registry import backbone

if TYPE_CHECKING:
    import keras

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_IMAGENET_PIXEL_MEAN_BGR = (103.939, 116.779, 123.68)


class Family(NamedTuple):
    """The input that a network of keras.applications expects.

    `scaling` is "symmetric" for [-1, 1], "standard" for ImageNet's mean and standard deviation,
    "caffe" for BGR minus ImageNet's mean, "inside" if the network scales its input itself, and
    "half_inside" if it does so correctly only with random weights. `smallest` is the smallest
    height and width in pixels.
    """

    scaling: Literal["symmetric", "standard", "caffe", "inside", "half_inside"]
    smallest: int = 32


FAMILIES = {
    "ConvNeXtBase": Family("inside"),
    "ConvNeXtLarge": Family("inside"),
    "ConvNeXtSmall": Family("inside"),
    "ConvNeXtTiny": Family("inside"),
    "ConvNeXtXLarge": Family("inside"),
    "DenseNet121": Family("standard"),
    "DenseNet169": Family("standard"),
    "DenseNet201": Family("standard"),
    "EfficientNetB0": Family("half_inside"),
    "EfficientNetB1": Family("half_inside"),
    "EfficientNetB2": Family("half_inside"),
    "EfficientNetB3": Family("half_inside"),
    "EfficientNetB4": Family("half_inside"),
    "EfficientNetB5": Family("half_inside"),
    "EfficientNetB6": Family("half_inside"),
    "EfficientNetB7": Family("half_inside"),
    "EfficientNetV2B0": Family("inside"),
    "EfficientNetV2B1": Family("inside"),
    "EfficientNetV2B2": Family("inside"),
    "EfficientNetV2B3": Family("inside"),
    "EfficientNetV2L": Family("inside"),
    "EfficientNetV2M": Family("inside"),
    "EfficientNetV2S": Family("inside"),
    "InceptionResNetV2": Family("symmetric", 75),
    "InceptionV3": Family("symmetric", 75),
    "MobileNet": Family("symmetric"),
    "MobileNetV2": Family("symmetric"),
    "MobileNetV3Large": Family("inside"),
    "MobileNetV3Small": Family("inside"),
    "NASNetLarge": Family("symmetric"),
    "NASNetMobile": Family("symmetric"),
    "ResNet101": Family("caffe"),
    "ResNet101V2": Family("symmetric"),
    "ResNet152": Family("caffe"),
    "ResNet152V2": Family("symmetric"),
    "ResNet50": Family("caffe"),
    "ResNet50V2": Family("symmetric"),
    "VGG16": Family("caffe"),
    "VGG19": Family("caffe"),
    "Xception": Family("symmetric", 71),
}


@backbone
class KerasApplication(Pretrained):
    """A network of keras.applications, with its own preprocessing.

    Attributes:
        family: The name of the network in keras.applications.
        weights: "imagenet" (Keras downloads the weights once and caches them), "none" for random
            weights, or a weights file without the classifier, as Keras publishes them.
        sha256: The SHA-256 of the weights file; computed if it is missing.
    """

    family: str = "MobileNetV3Small"
    weights: str = Field(default="imagenet", min_length=1)
    sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _knows_its_file(cls, data: Any) -> Any:
        weights = data.get("weights", "imagenet") if isinstance(data, dict) else None
        if not isinstance(weights, str) or weights in ("imagenet", "none") or data.get("sha256"):
            return data
        path = user_path(weights).resolve()
        if not path.is_file():
            raise UserError(
                f"weights must be 'imagenet', 'none' or an existing file; received {weights!r}."
            )
        return {**data, "weights": str(path), "sha256": file_digest(path)}

    @model_validator(mode="after")
    def _family_exists(self) -> Self:
        if self.family not in FAMILIES:
            lower = {name.lower(): name for name in FAMILIES}
            close = difflib.get_close_matches(self.family.lower(), lower, n=1)
            hint = f" Did you mean {lower[close[0]]!r}?" if close else ""
            raise ValueError(
                f"family must be one of {', '.join(FAMILIES)}; received {self.family!r}.{hint}"
            )
        return self

    def summary(self) -> str:
        """Returns family, weights and trainable depth, as in "MobileNetV2 imagenet, frozen"."""
        weights = self.weights if self.sha256 is None else Path(self.weights).name
        return f"{self.family} {weights}, {self.trainable_words()}"

    def preprocess(self, x: Any) -> Any:
        """Maps float32 pixel values from 0 to 255 to the input range of the network."""
        import keras
        from keras import layers

        scaling = FAMILIES[self.family].scaling
        if scaling == "symmetric":
            return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocess")(x)
        if scaling == "standard":
            return layers.Normalization(
                mean=[255 * mean for mean in _IMAGENET_MEAN],
                variance=[(255 * deviation) ** 2 for deviation in _IMAGENET_DEVIATION],
                dtype="float32",
                name="preprocess",
            )(x)
        if scaling == "caffe":
            return layers.Normalization(
                mean=_IMAGENET_PIXEL_MEAN_BGR,
                variance=(1.0, 1.0, 1.0),
                dtype="float32",
                name="preprocess",
            )(keras.ops.flip(x, axis=-1))
        if scaling == "half_inside" and self.weights != "none":
            # The network's Normalization layer holds the standard deviation instead of the
            # variance. Keras corrects this with a layer after it, but only if it loads ImageNet's
            # weights by name. This layer before it has the same effect, also for weights from a
            # file.
            roots = [math.sqrt(deviation) for deviation in _IMAGENET_DEVIATION]
            means = [255 * mean for mean in _IMAGENET_MEAN]
            return layers.Rescaling(
                [1 / root for root in roots],
                offset=[mean - mean / root for mean, root in zip(means, roots, strict=True)],
                dtype="float32",
                name="preprocess",
            )(x)
        return x

    def architecture(self, shape: tuple[int, ...]) -> "keras.Model":
        """Returns the network without its classifier."""
        require_size(shape, FAMILIES[self.family].smallest, self.family)
        return self._builder()(include_top=False, weights=None, input_shape=shape)

    def source(self) -> "keras.Model | None":
        """Returns the network with its weights; None for random weights.

        Raises UserError if the weights cannot be downloaded or found.
        """
        if self.weights == "none":
            return None
        if self.sha256 is not None:
            require_digest(Path(self.weights), self.sha256)
        with warnings.catch_warnings():
            # Keras warns that ImageNet's weights were trained at another input size.
            warnings.simplefilter("ignore")
            try:
                return self._builder()(include_top=False, weights=self.weights)
            except Exception as error:
                raise UserError(self._explain(error)) from error

    def _builder(self) -> Callable[..., Any]:
        import keras

        builder: Callable[..., Any] = getattr(keras.applications, self.family)
        return builder

    def _explain(self, error: Exception) -> str:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if self.weights == "imagenet":
            return (
                f"ImageNet's weights for {self.family} must be downloaded once or already be in "
                f"~/.keras/models; {reason}. Fix: connect to a network, copy that folder from a "
                f"machine with a network, or use your own file as backbone."
            )
        return (
            f"A weights file must fit {self.family} without its classifier; {self.weights}: "
            f"{reason}."
        )
