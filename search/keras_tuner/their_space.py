"""Any HyperModel as one of our spaces."""

import json
from contextlib import suppress
from functools import cache
from typing import Any

from cnn_blocks.config import ModelConfig
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.symbolic import without_values
from search.keras_tuner import network
from search.keras_tuner.loading import load_hypermodel, resolve
from spaces.candidate import Candidate, Compilation, TrainingConfig
from spaces.probe import ProbeTrial
from spaces.suggest import Trial
from studies.study import LoadedStudy, StudySpec

# The image shape for inspecting a HyperModel without data: large enough for any network.
_IMAGE_SHAPE, _CLASSES = (224, 224, 3), 10


def hypermodel_study(reference: str, *, batch_size: int = 32) -> LoadedStudy:
    """Returns a study over the search space of a HyperModel.

    The networks, their optimizer and their loss come from the HyperModel. Images are scaled to
    [0, 1], unless the network does so itself. `batch_size` defaults to Keras' default. The
    HyperModel's `fit` is not called; our training loop replaces it.
    Raises UserError if there is no such HyperModel.
    """
    from search.system.runtime import start_keras

    reference = resolve(reference)
    start_keras()
    import keras_tuner

    hypermodel = _load(reference)
    name = reference.replace(":", ".").rpartition(".")[2]
    warnings = []
    if type(hypermodel).fit is not keras_tuner.HyperModel.fit:
        warnings.append(
            f"{name} overrides HyperModel.fit, which is not called: training uses batches of "
            f"{batch_size} images and the optimizer and loss that build() compiles"
        )
    takes_pixels = False
    with suppress(InfeasibleError):  # other values may build a network
        model = _build(hypermodel, ProbeTrial())[0]
        takes_pixels = network.takes_pixel_values(model)
        warnings += [_not_portable(name, layer) for layer in network.foreign_layers(model)]

    def space(trial: Trial) -> Candidate:
        # Loaded by name, because a worker process gets this function but not the object.
        values, compilation = _sample(_load(reference), trial)
        model = ModelConfig(backbone=network.KerasTunerModel(hypermodel=reference, values=values))
        training = TrainingConfig(batch_size=batch_size, compilation=compilation)
        return Candidate(model=model, training=training)

    spec = StudySpec(
        name=name,
        description=f"The search space of the HyperModel {reference}.",
        space=space,
        fixes=f"Batches of {batch_size} images, "
        + ("unscaled: the network rescales them." if takes_pixels else "scaled to [0, 1]."),
        probes=2,
    )
    return LoadedStudy(spec, network.__name__, tuple(warnings))


def _not_portable(name: str, layer: str) -> str:
    if layer == "Lambda":
        return (
            f"{name} has a Lambda layer: its model.keras opens only with "
            f"keras.saving.load_model(..., safe_mode=False), which runs its code, and other "
            f"formats may not support it. Fix: replace it with a built-in layer, such as Rescaling"
        )
    return (
        f"{name} has a custom layer, {layer}: its model.keras opens only after the file that "
        f"defines {layer} is imported"
    )


@cache
def _load(reference: str) -> Any:
    return load_hypermodel(reference)(_IMAGE_SHAPE, _CLASSES)


def _build(hypermodel: Any, trial: Trial) -> tuple[Any, Any]:
    import keras

    from search.keras_tuner.parameters import SuggestedHyperParameters, suggest_value

    hp = SuggestedHyperParameters(lambda asked: suggest_value(trial, asked))
    hypermodel.declare_hyperparameters(hp)
    with without_values():
        try:
            model = network.build(hypermodel, hp)
        except Exception as error:  # a user's file may raise anything
            raise InfeasibleError(
                f"A HyperModel must build a network from its suggested values; with "
                f"{hp.values} it raised {type(error).__name__}: {error}"
            ) from error
    if not isinstance(model, keras.Model):
        raise InfeasibleError(
            f"A HyperModel's build(hp) must return a keras.Model; with {hp.values} it returned "
            f"{model!r:.80}. Fix: end it with `return model`."
        )
    return model, hp


def _sample(hypermodel: Any, trial: Trial) -> tuple[dict[str, Any], Compilation | None]:
    model, hp = _build(hypermodel, trial)
    compiled = _serialize(model) if model.compiled and model.loss is not None else None
    return dict(hp.values), compiled and _checked(*compiled)


def _serialize(model: Any) -> tuple[dict[str, Any], Any]:
    import keras
    import numpy as np

    optimizer = keras.optimizers.serialize(model.optimizer)
    settings = optimizer["config"]
    # Keras numbers names in the order of creation, but equal optimizers must serialize equally.
    del settings["name"]
    if isinstance(settings["learning_rate"], float):
        # Keras stores it in float32; the shortest equal decimal is what the user wrote.
        settings["learning_rate"] = float(str(np.float32(settings["learning_rate"])))
    loss = model.loss
    if isinstance(loss, keras.losses.Loss):
        loss = keras.losses.serialize(loss)
    elif callable(loss):
        loss = loss.__name__
    return optimizer, loss


def _checked(optimizer: dict[str, Any], loss: Any) -> Compilation:
    import keras

    try:
        stored = json.loads(json.dumps([optimizer, loss]))
        keras.optimizers.deserialize(stored[0])
        keras.losses.get(stored[1])
        return Compilation(optimizer=optimizer, loss=loss)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"A HyperModel must compile with an optimizer and one loss that Keras can store; "
            f"received {optimizer['class_name']} and {loss!r}: {error}"
        ) from error
