"""The common base of pretrained backbones: copies, freezes and loads weights correctly."""

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import PositiveInt

from cnn_blocks.build import assign_weights
from cnn_blocks.config import Backbone
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.symbolic import names_from_the_start, without_values

if TYPE_CHECKING:
    import keras

Trainable: TypeAlias = Literal["none", "all"] | PositiveInt

_PREFIX = "backbone"


class Pretrained(Backbone):
    """Base of backbones that are whole Keras networks with their own weights.

    Attributes:
        trainable: "none" freezes the network, "all" trains it, a number trains that many last
            stages. A stage is all layers between two reductions of height and width.

    Frozen layers stay in inference mode while the rest trains: their batch normalisation keeps its
    statistics and their dropout is off.
    """

    own_preprocessing: ClassVar[bool] = True

    trainable: Trainable = "none"

    @property
    def frozen(self) -> bool:
        """Whether training does not change it: an image always has the same features."""
        return self.trainable == "none"

    def with_trainable(self, trainable: Trainable) -> "Pretrained":
        """Returns a copy of this backbone with another trainable depth."""
        return self.model_copy(update={"trainable": trainable})

    def trainable_words(self) -> str:
        """Returns the trainable depth in words."""
        words = {"none": "frozen", "all": "all trained"}
        return words.get(str(self.trainable), f"last {self.trainable} stages trained")

    def preprocess(self, x: Any) -> Any:
        """Maps float32 pixel values from 0 to 255 to the input range of the network."""
        raise NotImplementedError

    def architecture(self, shape: tuple[int, ...]) -> "keras.Model":
        """Returns the network from image to feature map, for images of the given shape."""
        raise NotImplementedError

    def source(self) -> "keras.Model | None":
        """Returns a network that holds the weights, with the layer names of `architecture`."""
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        """Maps (N, H, W, 3), pixel values from 0 to 255, to a feature map (N, H', W', C)."""
        with names_from_the_start(), without_values():
            network = self.architecture(tuple(x.shape[1:]))
            trains = self._choose(network, x)
        return _copy_graph(network, self.preprocess(x), trains)

    def load_weights(self, model: "keras.Model") -> None:
        """Loads this backbone's weights into its layers of a built model."""
        with names_from_the_start():
            source = self.source()
        if source is None:
            return
        for name, layer in _leaves(source):
            if layer.weights:
                assign_weights(model.get_layer(name), layer.get_weights())

    def _choose(self, network: "keras.Model", x: Any) -> Callable[[str], bool]:
        if isinstance(self.trainable, str):
            return lambda name: self.trainable == "all"
        stages = _stages(network, x)
        weighted = {name for name, layer in _leaves(network) if layer.weights}
        last = sorted({stages[name] for name in weighted})[-self.trainable :]
        return lambda name: stages[name] in last


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file; reads the file again only if it has changed.

    Raises UserError if there is no such file.
    """
    try:
        status = path.stat()
        return _digest(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"A backbone file must exist and be readable; {path}: {error.strerror}. Fix: correct "
            f"its path, or put the file there."
        ) from error


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_digest(path: Path, expected: str) -> None:
    """Raises UserError if a file is not the one that the configuration was created with."""
    found = file_digest(path)
    if found != expected:
        raise UserError(
            f"A backbone file must be the one that the configuration was created with; {path} has "
            f"the SHA-256 {found[:12]}..., expected {expected[:12]}.... Fix: restore the file, or "
            f"start a new study."
        )


def _copy_graph(network: "keras.Model", x: Any, trains: Callable[[str], bool]) -> Any:
    """Applies copies of a network's layers to a tensor; `trains` decides which are trainable.

    The copies become part of the caller's graph instead of one nested layer, because code that
    measures a network, counts its stages or cuts it looks at single layers.
    """
    copies: dict[int, Any] = {}

    def call(name: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_random(operation) and (not trains(name) or _is_augmentation(operation)):
            return args[0]  # as at inference
        if id(operation) not in copies:
            copies[id(operation)] = _copy(operation, name, trainable=trains(name))
        return copies[id(operation)](*args, **kwargs)

    return _run(network, x, call)


def _copy(operation: Any, name: str, *, trainable: bool) -> Any:
    import keras
    from keras import layers

    config = operation.get_config()
    if not isinstance(operation, layers.Layer):
        copied = type(operation).from_config(config)
        copied.name = name
        return copied
    pinned = layers.Rescaling | layers.Normalization | layers.Resizing
    policy = "float32" if isinstance(operation, pinned) else keras.config.dtype_policy().name
    config.update(name=name, dtype=policy, trainable=trainable)
    copied = type(operation).from_config(config)
    # The setter also reaches the layers inside a layer; the config does not.
    copied.trainable = trainable
    return copied


def _is_random(operation: Any) -> bool:
    """Returns whether a layer draws random numbers in training and does nothing at inference."""
    return bool(getattr(operation, "_seed_generators", ())) and not operation.weights


def _is_augmentation(operation: Any) -> bool:
    return "preprocessing" in type(operation).__module__


def _run(network: "keras.Model", x: Any, call: Callable[..., Any], prefix: str = _PREFIX) -> Any:
    """Runs a network's graph, including nested ones, through `call(name, operation, *args)`."""

    def step(operation: Any, *args: Any, **kwargs: Any) -> Any:
        name = f"{prefix}_{operation.name}"
        inner = _graph(operation)
        if inner is not None:
            return _run(inner, args[0], call, name)
        return call(name, operation, *args, **kwargs)

    # Keras' `clone_model` runs graphs in the same way, but cannot continue an existing graph.
    return network._run_through_graph(x, call_fn=step)


def _leaves(network: "keras.Model", prefix: str = _PREFIX) -> Iterator[tuple[str, Any]]:
    for layer in network.layers:
        name, inner = f"{prefix}_{layer.name}", _graph(layer)
        if inner is None:
            yield name, layer
        else:
            yield from _leaves(inner, name)


def _graph(operation: Any) -> "keras.Model | None":
    """Returns the graph of a nested network with one input and one output, otherwise None."""
    import keras

    if isinstance(operation, keras.Sequential):
        operation = keras.Model(operation.inputs, operation.outputs)
    is_graph = isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")
    if is_graph and len(operation.inputs) == 1 and len(operation.outputs) == 1:
        return operation
    return None


def _stages(network: "keras.Model", x: Any) -> dict[str, int]:
    """Returns each layer's stage: how often the image height has been halved at its output."""
    import keras

    height = x.shape[1]
    stages: dict[str, int] = {}
    # Per tensor: its stage, and whether it describes the whole image, as in a
    # squeeze-and-excitation branch. The size of such a tensor does not indicate the stage.
    known: dict[int, tuple[int, bool]] = {}
    kept: list[Any] = []  # keeps ids unique

    def call(name: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        kept.append(outputs)
        inputs = [
            known[id(item)] for item in keras.tree.flatten((args, kwargs)) if id(item) in known
        ]
        shape = keras.tree.flatten(outputs)[0].shape
        pooled = len(shape) != 4 or isinstance(
            operation, keras.layers.GlobalAveragePooling2D | keras.layers.GlobalMaxPooling2D
        )
        if len(shape) == 4 and shape[1] == 1 and inputs:
            pooled = pooled or all(described for _, described in inputs)
        if pooled:
            stage = max((stage for stage, _ in inputs), default=0)
        else:
            # Padding and unpadded convolutions change a size by less than half.
            stage = round(math.log2(height / shape[1]))
        stages[name] = max(stage, stages.get(name, 0))
        for output in keras.tree.flatten(outputs):
            known[id(output)] = (stage, pooled)
        return outputs

    _run(network, keras.Input(x.shape[1:]), call)
    return stages


def require_size(shape: tuple[int, ...], smallest: int, what: str) -> None:
    """Raises InfeasibleError for images (height, width, 3) below a network's smallest size."""
    height, width = shape[:2]
    if min(height, width) < smallest:
        raise InfeasibleError(
            f"{what} needs images of at least {smallest}x{smallest} pixels; received "
            f"{height}x{width}. Fix: set the model's input_size to {smallest} or more."
        )
