"""Keras Tuner in both directions: our spaces as HyperModels, and HyperModels as our spaces."""

from pathlib import Path
from typing import TYPE_CHECKING

from search.data.source import DataSource
from search.keras_tuner.their_space import hypermodel_study
from studies.study import StudySpec, load_study

if TYPE_CHECKING:
    from cnn_blocks.config import InputSpec
    from search.keras_tuner.our_space import SpaceHyperModel

__all__ = ["hypermodel", "hypermodel_study"]


def hypermodel(
    study: str | Path | StudySpec,
    *,
    data: DataSource | str | Path | None = None,
    spec: "InputSpec | None" = None,
    seed: int = 0,
) -> "SpaceHyperModel":
    """Returns the space of a study as a `keras_tuner.HyperModel`.

        import keras_tuner, search.keras_tuner

        model = search.keras_tuner.hypermodel("depth_filters", data="path/to/images")
        tuner = keras_tuner.Hyperband(model, objective="val_accuracy", max_epochs=9)
        tuner.search()

    With `data` (default: the study's own) it trains and validates on the training and validation
    images of our split; the test images stay unused. With `spec` it takes arrays instead:
    `tuner.search(images, labels, validation_data=(images, labels))`.
    Raises UserError for an unknown study or data, and if there is neither data nor `spec`.
    """
    from search.pipeline import load_split, require_data
    from search.system.runtime import start_keras

    found = load_study(study).spec
    split = None
    if spec is None:
        split = load_split(require_data(found, data), seed=seed)
        spec = split.spec
    start_keras()
    from search.keras_tuner.our_space import SpaceHyperModel

    return SpaceHyperModel(
        found,
        spec,
        train=None if split is None else split.train,
        validation=None if split is None else split.validation,
        seed=seed,
    )
