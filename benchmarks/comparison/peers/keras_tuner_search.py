"""Keras Tuner's Hyperband on the same space, used as in its documentation, until it is killed.

python -m benchmarks.comparison.peers.keras_tuner_search DATA FOLDER --seed 0
"""

from pathlib import Path
from typing import Annotated, Any

import keras
import keras_tuner
import typer

from benchmarks.comparison.peers.images import labelled, load_split
from benchmarks.comparison.peers.keeping import KeepBest
from benchmarks.comparison.peers.space import EPOCHS, build_model, from_keras_tuner

# An iteration is a whole Hyperband run; the time ends before the last one.
_ENDLESS = 1_000


class Network(keras_tuner.HyperModel):  # type: ignore[misc]
    """The space as a HyperModel, because it includes the batch size."""

    def __init__(self, folder: Path, image_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self._folder = folder
        self._image_shape = image_shape
        self._classes = classes
        self._best: list[float] = []

    def build(self, hp: Any) -> keras.Model:
        """Returns a compiled model."""
        return build_model(from_keras_tuner(hp), self._image_shape, self._classes)

    def fit(self, hp: Any, model: keras.Model, *arguments: Any, **options: Any) -> Any:
        """Trains a model with the batch size of its trial."""
        settings = from_keras_tuner(hp)
        keep = KeepBest(self._folder, settings, self._best)
        options["callbacks"] = [*options.get("callbacks", ()), keep]
        return model.fit(*arguments, batch_size=settings.batch_size, **options)


def main(
    data: str,
    folder: Path,
    seed: int = 0,
    iterations: Annotated[int, typer.Option(help="Hyperband iterations.")] = _ENDLESS,
    epochs: int = EPOCHS,
) -> None:
    """Searches, and saves the best model in the folder."""
    split = load_split(data, seed)
    train, validation = labelled(split.train), labelled(split.validation)
    keras.utils.set_random_seed(seed)
    tuner = keras_tuner.Hyperband(
        Network(folder, train.images.shape[1:], len(split.dataset.class_names)),
        objective="val_accuracy",
        max_epochs=epochs,
        hyperband_iterations=iterations,
        seed=seed,
        directory=folder,
        project_name="hyperband",
    )
    tuner.search(
        train.images,
        train.labels,
        validation_data=(validation.images, validation.labels),
        verbose=2,
    )


if __name__ == "__main__":
    typer.run(main)
