"""The network of a HyperModel as a registered component, rebuilt from stored values."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cnn_blocks.config import Classifier
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.registry import backbone
from search.keras_tuner.loading import load_hypermodel

# Below this, a probability is taken for this: its logarithm must be finite.
_SMALLEST_PROBABILITY = 1e-7


@backbone
class KerasTunerModel(Classifier):
    """The network that a Keras Tuner HyperModel builds from given values.

    `hypermodel` is package.module.Name or path/to/file.py:Name, which is imported when the network
    is built; `values` are those of `HyperParameters.values`.
    """

    hypermodel: str
    values: dict[str, bool | int | float | str]

    def summary(self) -> str:
        """Returns name and values, as in "HyperResNet version=v2 pooling=avg"."""
        name = self.hypermodel.replace(":", ".").rpartition(".")[2]
        return " ".join([name, *(f"{key}={_short(value)}" for key, value in self.values.items())])

    def logits(self, x: Any, *, classes: int) -> Any:
        """Maps images (N, H, W, 3), scaled to [0, 1], to logits (N, classes)."""
        from search.keras_tuner.parameters import SuggestedHyperParameters

        hp = SuggestedHyperParameters(self._refuse)
        hp.values.update(self.values)
        hypermodel = load_hypermodel(self.hypermodel)(tuple(x.shape[1:]), classes)
        return _logits(build(hypermodel, hp), x, classes)

    def _refuse(self, hyperparameter: Any) -> Any:
        raise UserError(
            f"A HyperModel must ask for what it asked for when its values were stored; "
            f"{self.hypermodel} now asks for {hyperparameter.name!r} too. Use the file or the "
            f"version of then."
        )


def build(hypermodel: Any, hp: Any) -> Any:
    """Returns the Keras model that a HyperModel builds, also where variables get no values."""
    with _optimizers_have_values():
        return hypermodel.build(hp)


def _logits(model: Any, x: Any, classes: int) -> Any:
    """Calls a classifier on images, without the softmax at its end."""
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
        # A model without the optimizer, which an export would carry along.
        body = keras.Model(model.inputs, model.outputs[0], name="hypermodel")
    # Augmentation layers act unless told otherwise; `fit` still tells them to.
    outputs = body(x, training=False)
    if tuple(outputs.shape[1:]) != (classes,):
        raise InfeasibleError(
            f"A HyperModel must end in one output for each of the {classes} classes; this one ends "
            f"in {tuple(outputs.shape[1:])}. Take the number from `classes` in its constructor.",
            constraint="classes",
        )
    outputs = ops.cast(outputs, "float32")
    if takes_logits:
        return outputs
    return ops.log(ops.clip(outputs, _SMALLEST_PROBABILITY, 1.0))


def _last_operation(model: Any) -> Any:
    """Returns what makes a model's output; None for a model that is no graph of layers."""
    if not getattr(model, "outputs", None) or not hasattr(model, "operations"):
        return None
    operation = model.outputs[0]._keras_history.operation
    return _last_operation(operation) if hasattr(operation, "operations") else operation


_patching = threading.RLock()


@contextmanager
def _optimizers_have_values() -> Iterator[None]:
    """Lets optimizers be made where variables get no values.

    A HyperModel compiles what it builds, and Keras makes an optimizer's counters from values,
    which is an error in a stateless scope.
    """
    from keras.src.backend.common import global_state
    from keras.src.optimizers.base_optimizer import BaseOptimizer

    def initialize(self: Any, *arguments: Any, **options: Any) -> None:
        scope = global_state.get_global_attribute("stateless_scope")
        global_state.set_global_attribute("stateless_scope", None)
        try:
            original(self, *arguments, **options)
        finally:
            global_state.set_global_attribute("stateless_scope", scope)

    with _patching:
        original = BaseOptimizer.__init__
        BaseOptimizer.__init__ = initialize
        try:
            yield
        finally:
            BaseOptimizer.__init__ = original


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
