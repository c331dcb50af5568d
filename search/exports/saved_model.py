"""TensorFlow's SavedModel, the input of TensorFlow Serving and TensorFlow.js."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.exports.formats import Format, Images, Predict, TrainedModel


@dataclass(frozen=True)
class SavedModel(Format):
    """A SavedModel folder with the endpoint "serve"."""

    def write(self, model: TrainedModel, path: Path) -> None:
        model.network.export(path.parent, format="tf_saved_model", verbose=False)

    def load(self, path: Path) -> Predict:
        import tensorflow

        loaded = tensorflow.saved_model.load(str(path.parent))

        def predict(images: Images) -> np.ndarray:
            return np.asarray(loaded.serve(images))

        return predict


SAVED_MODEL = SavedModel(
    name="saved_model", file="saved_model/saved_model.pb", runtime="tensorflow"
)
