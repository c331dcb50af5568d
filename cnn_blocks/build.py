"""The only assembler: a configuration and the data's specification become a Keras model."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.errors import InfeasibleError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ModelShape:
    """What a network would hold, known from shapes alone.

    `activations` counts the elements that all layers put out for one image;
    `feature_map` is the head's input (height, width, channels).
    """

    parameters: int
    trainable_parameters: int
    activations: int
    feature_map: tuple[int, ...]


def build_model(
    config: ModelConfig,
    spec: InputSpec,
    *,
    seed: int | None = None,
    dtype_policy: str = "float32",
) -> "keras.Model":
    """Builds the inference model: uint8 RGB (N, H, W, 3) in, class probabilities (N, C) out.

    The layer "logits" (N, C) stands before the softmax; preprocessing, logits and softmax are
    float32 under every dtype policy. `seed` makes the initial weights repeatable.
    Raises InfeasibleError when the graph cannot be built, as when pooling leaves no pixel.
    """
    import keras

    if seed is not None:
        keras.utils.set_random_seed(seed)
    with _policy(dtype_policy):
        return _assemble(config, spec)[0]


def describe_model(config: ModelConfig, spec: InputSpec) -> ModelShape:
    """Returns a network's size from shapes alone: no weight is allocated.

    Raises InfeasibleError when the graph cannot be built.
    """
    import keras
    from keras.src.backend.common import global_state

    # Variables made inside a stateless scope hold a shape and an initialiser, but no values. Keras
    # keeps a list of them and would give them values at the next occasion.
    pending = list(global_state.get_global_attribute("uninitialized_variables", []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            model, feature_map = _assemble(config, spec)
    finally:
        global_state.set_global_attribute("uninitialized_variables", pending)
    return ModelShape(
        parameters=sum(_elements(weight.shape) for weight in model.weights),
        trainable_parameters=sum(_elements(weight.shape) for weight in model.trainable_weights),
        activations=sum(
            _elements(output.shape[1:])
            for operation in model.operations
            for output in _outputs(operation)
        ),
        feature_map=feature_map,
    )


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
    from keras import layers

    images = keras.Input(spec.image_shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255, dtype="float32", name="scale")(images)
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
    try:
        features = config.backbone(x)
        _require_pixels(features.shape)
        logits = layers.Dense(spec.classes, dtype="float32", name="logits")(config.head(features))
    except (ValueError, ZeroDivisionError) as error:
        if isinstance(error, InfeasibleError):
            raise
        raise InfeasibleError(
            f"A network must keep at least one pixel through all its layers; for "
            f"{x.shape[1]}x{x.shape[2]} images this one cannot be built: "
            f"{_reason(error)} Use fewer reductions, a smaller kernel or larger images."
        ) from error
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(images, probabilities, name="cnn"), tuple(features.shape[1:])


def _require_pixels(shape: tuple[int | None, ...]) -> None:
    if any(size is not None and size < 1 for size in shape[1:]):
        raise InfeasibleError(
            f"A feature map must keep at least one pixel; received {shape[1:]}. "
            f"Use fewer reductions or larger images."
        )


def _reason(error: Exception) -> str:
    # Keras puts "Exception encountered when calling ..." and terminal colours around the reason.
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Exception encountered")] or lines
    return lines[0] if lines else type(error).__name__


def _outputs(operation: Any) -> list[Any]:
    outputs = operation.output
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _elements(shape: tuple[int | None, ...]) -> int:
    count = 1
    for size in shape:
        count *= size or 1
    return count
