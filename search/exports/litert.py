"""LiteRT (formerly TensorFlow Lite) in float32, float16 and int8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from search.exports.formats import Format, Images, Predict, TrainedModel
from search.sizing.machine import available_cores


@dataclass(frozen=True)
class LiteRT(Format):
    """A .tflite file; `weights` says how its weights are stored.

    With int8 the convolutions also compute in int8, with value ranges from real images. Input
    (uint8) and output (float32) are the same in all three.
    """

    weights: Literal["float32", "float16", "int8"] = "float32"

    def write(self, model: TrainedModel, path: Path) -> None:
        import tensorflow

        # The standalone runtime has no TensorFlow operators to fall back on.
        target: dict[str, Any] = {"supported_ops": [tensorflow.lite.OpsSet.TFLITE_BUILTINS]}
        options: dict[str, Any] = {"target_spec": target}
        if self.weights != "float32":
            options["optimizations"] = [tensorflow.lite.Optimize.DEFAULT]
        if self.weights == "float16":
            target["supported_types"] = [tensorflow.float16]
        if self.weights == "int8":
            options["representative_dataset"] = lambda: _one_by_one(model.calibration)
        model.network.export(path, format="litert", verbose=False, **options)

    def load(self, path: Path) -> Predict:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=available_cores())
        (source,) = interpreter.get_input_details()
        (target,) = interpreter.get_output_details()
        shape: tuple[int, ...] | None = None

        def predict(images: Images) -> np.ndarray:
            nonlocal shape
            if images.shape != shape:
                shape = images.shape
                interpreter.resize_tensor_input(source["index"], shape)
                interpreter.allocate_tensors()
            interpreter.set_tensor(source["index"], images)
            interpreter.invoke()
            return np.asarray(interpreter.get_tensor(target["index"]))

        return predict


def _one_by_one(images: Images) -> Iterator[list[Images]]:
    for image in images:
        yield [image[None]]


_RUNTIME: dict[str, Any] = {"runtime": "ai-edge-litert", "modules": ("ai_edge_litert",)}
LITERT = (
    LiteRT(name="litert", file="model.tflite", **_RUNTIME),
    LiteRT(
        name="litert_float16",
        file="model_float16.tflite",
        weights="float16",
        is_exact=False,
        **_RUNTIME,
    ),
    LiteRT(
        name="litert_int8", file="model_int8.tflite", weights="int8", is_exact=False, **_RUNTIME
    ),
)
