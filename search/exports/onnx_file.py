"""ONNX, written with tf2onnx and opened with ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from search.exports.formats import Format, Images, Predict, TrainedModel


@dataclass(frozen=True)
class OnnxFile(Format):
    """An .onnx file."""

    def write(self, model: TrainedModel, path: Path) -> None:
        import tensorflow
        from tf2onnx import convert, tf_loader

        _register_erfc()
        network = model.network
        images = tensorflow.TensorSpec(network.input_shape, tensorflow.uint8, name="images")
        traced = tensorflow.function(
            lambda images: network(images, training=False), input_signature=[images]
        ).get_concrete_function()
        # Keras' own export lists all inputs of the traced function. The file would then require the
        # mean and the variance of a Normalization layer as inputs.
        source, (target,) = "images:0", (output.name for output in traced.outputs)
        convert.from_graph_def(
            tf_loader.from_function(traced, [source], [target]),
            input_names=[source],
            output_names=[target],
            tensors_to_rename={source: "images", target: "probabilities"},
            output_path=str(path),
        )

    def load(self, path: Path) -> Predict:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (name,) = (value.name for value in session.get_inputs())

        def predict(images: Images) -> np.ndarray:
            return np.asarray(session.run(None, {name: images})[0])

        return predict


@cache
def _register_erfc() -> None:
    """Adds the operator of the exact GELU to tf2onnx.

    tf2onnx 1.17 does not support Erfc and writes a file that ONNX Runtime refuses.
    """
    from tf2onnx.handler import tf_op
    from tf2onnx.utils import make_name

    if any("Erfc" in operators for opset in tf_op.get_opsets().values() for operators in opset):
        return

    @tf_op("Erfc")
    class Erfc:
        # ONNX has had Erf since operator set 9.
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **options: Any) -> None:
            values, name = node.input[0], node.output[0]
            types, shapes = [ctx.get_dtype(name)], [ctx.get_shape(name)]
            ctx.remove_node(node.name)
            one = ctx.make_const(make_name("one"), np.array(1.0, dtype=np.float32))
            erf = ctx.make_node("Erf", [values], dtypes=types, shapes=shapes)
            ctx.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                name=node.name,
                outputs=[name],
                dtypes=types,
                shapes=shapes,
            )


ONNX = OnnxFile(
    name="onnx",
    file="model.onnx",
    runtime="onnxruntime",
    modules=("tf2onnx", "onnx", "onnxruntime"),
)
