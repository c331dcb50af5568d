"""A HyperModel's network as a registered component, rebuilt from stored values."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cnn_blocks.config import Classifier
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.registry import backbone
from search.keras_tuner.loading import load_hypermodel

# Probabilities are clipped to at least this, so that their logarithm is finite.
_SMALLEST_PROBABILITY = 1e-7
# A network that first multiplies by less than this, for example by 1/255, expects pixel values.
_LEAST_SCALE = 1 / 32


@backbone
class KerasTunerModel(Classifier):
    """The network that a Keras Tuner HyperModel builds from given values.

    `hypermodel` is package.module.Name or path/to/file.py:Name, which is imported when the network
    is built; `values` come from `HyperParameters.values`.
    """

    hypermodel: str
    values: dict[str, bool | int | float | str]

    def summary(self) -> str:
        """Returns name and values, as in "HyperResNet version=v2 pooling=avg"."""
        name = self.hypermodel.replace(":", ".").rpartition(".")[2]
        return " ".join([name, *(f"{key}={_short(value)}" for key, value in self.values.items())])

    def logits(self, x: Any, *, classes: int) -> Any:
        """Maps images (N, H, W, 3), scaled to [0, 1], to logits (N, classes).

        A network that rescales images itself gets values from 0 to 255.
        """
        from search.keras_tuner.parameters import SuggestedHyperParameters

        hp = SuggestedHyperParameters(self._refuse)
        hp.values.update(self.values)
        hypermodel = load_hypermodel(self.hypermodel)(tuple(x.shape[1:]), classes)
        return _logits(build(hypermodel, hp), x, classes)

    def _refuse(self, hyperparameter: Any) -> Any:
        raise UserError(
            f"A HyperModel must use the hyperparameters for which its values were stored; "
            f"{self.hypermodel} now also uses {hyperparameter.name!r}. Fix: use the file or "
            f"version from when the values were stored."
        )


def build(hypermodel: Any, hp: Any) -> Any:
    """Returns the Keras model that a HyperModel builds, also in a stateless scope."""
    with _optimizers_have_values():
        return hypermodel.build(hp)


def _logits(model: Any, x: Any, classes: int) -> Any:
    """Calls a classifier on images and returns logits, without a final softmax."""
    import keras
    from keras import ops

    last = _last_operation(model)
    takes_logits = getattr(model.loss, "from_logits", False) if model.compiled else True
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
        last.dtype_policy = keras.DTypePolicy("float32")
        takes_logits = True
    if last is None:
        body = model
        body.compiled = False
    else:
        # A new model without the optimizer, which would end up in exports.
        body = keras.Model(model.inputs, model.outputs[0], name="hypermodel")
    if takes_pixel_values(model):
        x = keras.layers.Rescaling(255.0, dtype="float32", name="pixel_values")(x)
    # Augmentation layers default to training=True; `fit` still enables them.
    outputs = body(x, training=False)
    if tuple(outputs.shape[1:]) != (classes,):
        raise InfeasibleError(
            f"A HyperModel must have one output for each of the {classes} classes; the outputs of "
            f"this one have shape {tuple(outputs.shape[1:])}. Fix: take the number from `classes` "
            f"in its constructor.",
            constraint="classes",
        )
    outputs = ops.cast(outputs, "float32")
    if takes_logits:
        return outputs
    return ops.log(ops.clip(outputs, _SMALLEST_PROBABILITY, 1.0))


def takes_pixel_values(model: Any) -> bool:
    """Whether a network itself scales pixel values from 0 to 255, as with `Rescaling(1 / 255)`.

    If they were scaled before as well, the network would see almost only zeros.
    """
    return any(_scales_down(operation) for operation in _operations(model))


def _scales_down(operation: Any) -> bool:
    from keras import layers

    if isinstance(operation, layers.Rescaling):
        return bool(np.max(np.abs(operation.scale)) < _LEAST_SCALE)
    if isinstance(operation, layers.Normalization):
        return operation.input_mean is not None and bool(np.max(operation.input_mean) > 1)
    name = type(operation).__name__
    if name not in ("Divide", "TrueDivide", "Multiply"):
        return False
    arguments = operation._inbound_nodes[0].arguments.args
    factors = [item for item in arguments if isinstance(item, int | float)]
    shapes = [item.shape for item in arguments if hasattr(item, "shape")]
    # A small factor on features says nothing about the images.
    of_images = [len(shape) == 4 and shape[-1] == 3 for shape in shapes] == [True]
    return of_images and any(
        abs(factor if name == "Multiply" else 1 / factor) < _LEAST_SCALE
        for factor in factors
        if factor
    )


def _operations(model: Any) -> Iterator[Any]:
    """Yields the layers of a network and the operations between them, including nested ones."""
    yield from model._flatten_layers(include_self=False)
    for part in model._flatten_layers():
        for operation in getattr(part, "operations", ()):
            if not hasattr(operation, "_flatten_layers"):
                yield operation


def foreign_layers(model: Any) -> list[str]:
    """Returns the class names of layers that prevent a saved network from opening anywhere."""
    from keras import layers

    return sorted(
        {
            type(layer).__name__
            for layer in model._flatten_layers()
            if isinstance(layer, layers.Lambda) or not type(layer).__module__.startswith("keras.")
        }
    )


def _last_operation(model: Any) -> Any:
    """Returns the operation behind a model's output; None if the model is not a graph of layers."""
    if not getattr(model, "outputs", None) or not hasattr(model, "operations"):
        return None
    operation = model.outputs[0]._keras_history.operation
    return _last_operation(operation) if hasattr(operation, "operations") else operation


@contextmanager
def _optimizers_have_values() -> Iterator[None]:
    """Allows creating optimizers in a stateless scope.

    A HyperModel compiles its model, and Keras creates an optimizer's counters with values, which is
    an error in a stateless scope.
    """
    from keras.src.backend.common import global_state
    from keras.src.optimizers.base_optimizer import BaseOptimizer

    original = BaseOptimizer.__init__

    def initialize(self: Any, *arguments: Any, **options: Any) -> None:
        scope = global_state.get_global_attribute("stateless_scope")
        global_state.set_global_attribute("stateless_scope", None)
        try:
            original(self, *arguments, **options)
        finally:
            global_state.set_global_attribute("stateless_scope", scope)

    BaseOptimizer.__init__ = initialize
    try:
        yield
    finally:
        BaseOptimizer.__init__ = original


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
