"""The run's own .keras file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.exports.formats import Format, Images, Predict, TrainedModel


@dataclass(frozen=True)
class KerasFile(Format):
    """model.keras, with class names and decoding inside."""

    def write(self, model: TrainedModel, path: Path) -> None:
        shutil.copyfile(model.path, path)

    def load(self, path: Path) -> Predict:
        from search.results.exported_model import load_model

        network = load_model(path)

        def predict(images: Images) -> np.ndarray:
            return np.asarray(network.predict_on_batch(images))

        return predict


KERAS = KerasFile(name="keras", file="model.keras", runtime="keras")
