"""Plain Optuna: TPE and a median pruner around Keras' `fit`, until it is killed.

    python -m benchmarks.comparison.peers.optuna_search DATA FOLDER --seed 0

All settings not in `space.py` are the defaults of Optuna and Keras.
"""

from pathlib import Path
from typing import Annotated, Any

import keras
import optuna
import typer

from benchmarks.comparison.peers.images import labelled, load_split
from benchmarks.comparison.peers.keeping import KeepBest
from benchmarks.comparison.peers.space import EPOCHS, build_model, from_optuna


class PruneTrial(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports each epoch's validation accuracy and calls the pruner."""

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self._trial = trial

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises TrialPruned if the pruner decides so."""
        self._trial.report(float((logs or {})["val_accuracy"]), epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def main(
    data: str,
    folder: Path,
    seed: int = 0,
    trials: Annotated[int | None, typer.Option(help="None runs until killed.")] = None,
    epochs: int = EPOCHS,
) -> None:
    """Searches, and saves the best model in the folder."""
    split = load_split(data, seed)
    train, validation = labelled(split.train), labelled(split.validation)
    classes = len(split.dataset.class_names)
    keras.utils.set_random_seed(seed)
    best: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        keras.utils.clear_session()
        settings = from_optuna(trial)
        model = build_model(settings, train.images.shape[1:], classes)
        history = model.fit(
            train.images,
            train.labels,
            validation_data=(validation.images, validation.labels),
            batch_size=settings.batch_size,
            epochs=epochs,
            callbacks=[KeepBest(folder, settings, best), PruneTrial(trial)],
            verbose=2,
        )
        return float(max(history.history["val_accuracy"]))

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, n_trials=trials)


if __name__ == "__main__":
    typer.run(main)
