"""Keeps a search's best model on disk, so that the search can be stopped at any moment."""

import json
import time
from pathlib import Path
from typing import Any

import keras

from benchmarks.comparison.peers.records import CURVE, MODEL, WINNER
from search.system.files import whole_file, write_text


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc]
    """After each epoch, saves a model that is better than all models before it in this search.

    The trials of a search share the list `best`, and each has a callback of its own.
    """

    def __init__(self, folder: Path, settings: object, best: list[float]) -> None:
        super().__init__()
        self._folder = folder
        self._settings = settings
        self._best = best

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the epoch's validation accuracy with the search's best."""
        value = float((logs or {})["val_accuracy"])
        if value <= max(self._best, default=-1.0):
            return
        self._best.append(value)
        with whole_file(self._folder / MODEL) as temporary:
            self.model.save(temporary)
        write_text(self._folder / WINNER, str(self._settings))
        with (self._folder / CURVE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([time.time(), value]) + "\n")
