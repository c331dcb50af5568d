"""Saves a search's best model to disk, so that the search can be killed at any time."""

import json
import time
from pathlib import Path
from typing import Any

import keras

from benchmarks.comparison.peers.records import CURVE, MODEL, WINNER
from search.system.files import whole_file, write_text


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc]
    """After each epoch, saves the model if it is better than all earlier ones of the search.

    Each trial has its own callback; all trials of a search share the list `best`.
    """

    def __init__(self, folder: Path, settings: object, best: list[float]) -> None:
        super().__init__()
        self._folder = folder
        self._settings = settings
        self._best = best

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the model if the epoch's validation accuracy is the search's best."""
        value = float((logs or {})["val_accuracy"])
        if value <= max(self._best, default=-1.0):
            return
        self._best.append(value)
        with whole_file(self._folder / MODEL) as temporary:
            self.model.save(temporary)
        write_text(self._folder / WINNER, str(self._settings))
        with (self._folder / CURVE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([time.time(), value]) + "\n")
