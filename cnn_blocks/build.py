"""The only place that builds Keras models, from a configuration and an input specification."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cnn_blocks.config import Classifier, InputSpec, ModelConfig
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.symbolic import without_values
from cnn_blocks.work import Work, count, layer_calls

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ModelShape:
    """The size of a network, computed from shapes only.

    `activations` counts the output elements of all layers for one image. `frozen_activations` are
    those before the first trainable layer, which training need not keep. `largest_activation` is
    the largest output of a single layer (0: unknown).
    `feature_map` is the shape of the head's input (height, width, channels), or of the logits if
    the backbone has its own head.
    `work` is the computation for one image in a forward pass, without the layers before the first
    trainable one; theirs is `frozen_work`.
    `image_elements` is height x width x channels of the image before any resizing.
    `matrix_multiplies` are the multiply-accumulates of one Muon iteration that orthogonalises all
    kernels.
    """

    parameters: int
    trainable_parameters: int
    activations: int
    feature_map: tuple[int, ...]
    frozen_activations: int = 0
    largest_activation: int = 0
    work: Work = field(default_factory=Work)
    frozen_work: Work = field(default_factory=Work)
    image_elements: int = 0
    matrix_multiplies: int = 0

    @property
    def multiply_accumulates(self) -> int:
        """The multiply-accumulates of a forward pass over one image."""
        return self.work.multiply_accumulates + self.frozen_work.multiply_accumulates


def build_model(
    config: ModelConfig,
    spec: InputSpec,
    *,
    seed: int | None = None,
    dtype_policy: str = "float32",
    pretrained: bool = True,
) -> "keras.Model":
    """Builds the inference model: uint8 RGB (N, H, W, 3) in, class probabilities (N, C) out.

    The layer "logits" (N, C) precedes the softmax; preprocessing, logits and softmax are float32
    under every dtype policy. `seed` makes the initial weights reproducible. A pretrained backbone
    loads its own weights, unless `pretrained` is false because the caller assigns others
    (`assign_weights`). With `config.mirror`, "logits" averages two views. Training needs only one:
    build `config.for_training()`, which has the same weights in the same order.
    Raises InfeasibleError if the graph cannot be built, for example if pooling leaves no pixel, and
    UserError if pretrained weights are unavailable.
    """
    import keras

    if seed is not None:
        keras.utils.set_random_seed(seed)
    with _policy(dtype_policy):
        model = _assemble(config, spec)[0]
        if pretrained:
            config.backbone.load_weights(model)
        return _mirrored(model, spec) if config.mirror else model


def assign_weights(model: "keras.Layer", weights: Sequence[npt.NDArray[Any]]) -> None:
    """Sets the weights of a model or layer to those returned by `get_weights` of an equal one."""
    model.set_weights(weights)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):
            # Normalization uses constants that it derives from its weights.
            layer.finalize_state()


def build_features(
    config: ModelConfig, spec: InputSpec, *, seed: int | None = None
) -> "keras.Model":
    """Builds the network before the head, in float32: uint8 RGB in, the head's features out.

    If the head is `pooled_only`, the features are all channel means followed by all channel maxima
    (N, 2 C), otherwise the feature map (N, H, W, C). With the same seed, the weights equal those
    of `build_model`.
    """
    import keras
    from keras import layers

    if seed is not None:
        keras.utils.set_random_seed(seed)
    with _policy("float32"):
        images, x = _preprocess(config, spec)
        with _explained(x):
            features = config.backbone(x)
            _require_pixels(features.shape)
        if config.any_head.pooled_only:
            features = layers.Concatenate()(
                [layers.GlobalAveragePooling2D()(features), layers.GlobalMaxPooling2D()(features)]
            )
        model = keras.Model(images, features, name="features")
        config.backbone.load_weights(model)
    return model


def build_head(
    config: ModelConfig,
    spec: InputSpec,
    features: tuple[int, ...],
    *,
    seed: int | None = None,
    dtype_policy: str = "float32",
) -> "keras.Model":
    """Builds the part of a network after its backbone, to train it on the backbone's features.

    Maps an image's features, in the output shape of `build_features`, to class probabilities. Its
    weights are the last ones of the whole network (`assign_head_weights`).
    """
    import keras

    if seed is not None:
        keras.utils.set_random_seed(seed)
    with _policy(dtype_policy):
        x = keras.Input(features, name="features")
        if config.any_head.pooled_only:
            channels = features[0] // 2
            described = config.any_head.from_pooled(x[:, :channels], x[:, channels:])
        else:
            described = config.any_head(x)
        return keras.Model(x, _probabilities(_logits(described, spec)), name="head")


def assign_head_weights(model: "keras.Model", weights: Sequence[npt.NDArray[Any]]) -> None:
    """Copies the weights of a separately trained head into the whole network."""
    kept = model.get_weights()[: -len(weights)]
    assign_weights(model, [*kept, *weights])


def describe_model(config: ModelConfig, spec: InputSpec) -> ModelShape:
    """Returns a network's size from shapes only; allocates no weights.

    Raises InfeasibleError if the graph cannot be built.
    """
    with without_values():
        model, feature_map = _assemble(config, spec)
    calls = list(layer_calls(model))
    return ModelShape(
        parameters=sum(count(weight.shape) for weight in model.weights),
        trainable_parameters=sum(count(weight.shape) for weight in model.trainable_weights),
        activations=sum(call.elements for call in calls),
        frozen_activations=sum(call.elements for call in calls if not call.trained),
        largest_activation=max(call.elements for call in calls),
        feature_map=feature_map,
        work=sum((call.work for call in calls if call.trained), Work()),
        frozen_work=sum((call.work for call in calls if not call.trained), Work()),
        image_elements=count(spec.image_shape),
        matrix_multiplies=sum(_matrix_multiplies(weight) for weight in model.trainable_weights),
    )


def _matrix_multiplies(weight: Any) -> int:
    """Returns the multiply-accumulates of one step of orthogonalising a kernel."""
    shape = weight.shape
    if len(shape) not in (2, 4):
        return 0
    sides = sorted((count(shape[:-1]), shape[-1]))
    return int(2 * sides[0] ** 2 * sides[1] + sides[0] ** 3)


@contextmanager
def _policy(name: str) -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _assemble(config: ModelConfig, spec: InputSpec) -> tuple["keras.Model", tuple[int, ...]]:
    import keras

    images, x = _preprocess(config, spec)
    with _explained(x):
        if isinstance(config.backbone, Classifier):
            features = config.backbone.logits(x, classes=spec.classes)
            logits = keras.layers.Activation("linear", dtype="float32", name="logits")(features)
        else:
            features = config.backbone(x)
            _require_pixels(features.shape)
            logits = _logits(config.any_head(features), spec)
        probabilities = _probabilities(logits)
    return keras.Model(images, probabilities, name="cnn"), tuple(features.shape[1:])


def _preprocess(config: ModelConfig, spec: InputSpec) -> tuple[Any, Any]:
    import keras
    from keras import layers

    images = keras.Input(spec.image_shape, dtype="uint8", name="images")
    scale = 1.0 if config.preprocessing == "none" else 1 / 255
    x = layers.Rescaling(scale, dtype="float32", name="scale")(images)
    if config.input_size is not None:
        size = config.input_size
        x = layers.Resizing(size, size, dtype="float32", name="resize")(x)
    if config.preprocessing == "standardize":
        x = layers.Normalization(
            mean=spec.channel_mean,
            variance=[deviation**2 for deviation in spec.channel_deviation],
            dtype="float32",
            name="standardize",
        )(x)
    return images, x


def _logits(features: Any, spec: InputSpec) -> Any:
    from keras import layers

    return layers.Dense(spec.classes, dtype="float32", name="logits")(features)


def _probabilities(logits: Any) -> Any:
    from keras import layers

    return layers.Activation("softmax", dtype="float32", name="probabilities")(logits)


def _mirrored(model: "keras.Model", spec: InputSpec) -> "keras.Model":
    """Returns a model that averages `model`'s logits of an image and of its mirror image.

    It shares the weights of `model`, in the same order.
    """
    import keras

    network = keras.Model(model.input, model.get_layer("logits").output, name="network")
    images = keras.Input(spec.image_shape, dtype="uint8", name="images")
    views = [network(images), network(keras.ops.flip(images, axis=2))]
    logits = keras.layers.Average(dtype="float32", name="logits")(views)
    return keras.Model(images, _probabilities(logits), name="cnn")


@contextmanager
def _explained(x: Any) -> Iterator[None]:
    """Turns Keras' build errors into an InfeasibleError about the image size of `x`."""
    try:
        yield
    except (ValueError, ZeroDivisionError) as error:
        if isinstance(error, UserError):
            raise
        raise InfeasibleError(
            f"A network must keep at least one pixel through all its layers; for "
            f"{x.shape[1]}x{x.shape[2]} images this one cannot be built: "
            f"{_reason(error)} Fix: use fewer reductions, a smaller kernel or larger images."
        ) from error


def _require_pixels(shape: tuple[int | None, ...]) -> None:
    if any(size is not None and size < 1 for size in shape[1:]):
        raise InfeasibleError(
            f"A feature map must keep at least one pixel; received {shape[1:]}. "
            f"Fix: use fewer reductions or larger images."
        )


def _reason(error: Exception) -> str:
    # Keras wraps the reason in "Exception encountered when calling ..." and terminal colours.
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Exception encountered")] or lines
    return lines[0] if lines else type(error).__name__
