"""OpenVINO's intermediate representation: model.xml with its weights in model.bin."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.exports.formats import Format, Images, Predict, TrainedModel


@dataclass(frozen=True)
class OpenVinoFile(Format):
    """An .xml file and the .bin file next to it; both are needed."""

    def write(self, model: TrainedModel, path: Path) -> None:
        _import_openvino()
        model.network.export(str(path), format="openvino", verbose=False)

    def load(self, path: Path) -> Predict:
        openvino = _import_openvino()
        # On a CPU with bfloat16, OpenVINO would compute in bfloat16.
        exactly = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(path, "CPU", exactly)

        def predict(images: Images) -> np.ndarray:
            return np.asarray(compiled([images])[0])

        return predict


def _import_openvino() -> Any:
    """Imports OpenVINO without its telemetry, which sends a report at every import.

    If openvino_telemetry cannot be imported, OpenVINO works without it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


OPENVINO = OpenVinoFile(
    name="openvino", file="openvino/model.xml", runtime="openvino", modules=("openvino",)
)
