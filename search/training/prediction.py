"""Prediction in batches that fit into memory."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

_MOST_IMAGES = 512
_FEWEST_IMAGES = 8
# The largest output of a layer, for a whole batch.
_LARGEST_BYTES = 2**28
_ELEMENT_BYTES = 4


def prediction_batch(largest_activation: int) -> int:
    """Returns a batch size for a network whose widest layer has this many outputs per image.

    At most 512 images; fewer for networks on large images.
    """
    fitting = _LARGEST_BYTES // (_ELEMENT_BYTES * max(1, largest_activation))
    return max(_FEWEST_IMAGES, min(_MOST_IMAGES, fitting))


def prediction_batch_of(model: "keras.Model") -> int:
    """Returns a batch size for a model."""
    return prediction_batch(_largest_output(model))


def _largest_output(model: "keras.Model") -> int:
    import keras

    largest = 0
    for operation in model.operations:
        if hasattr(operation, "operations"):
            largest = max(largest, _largest_output(operation))
        for output in keras.tree.flatten(operation.output):
            largest = max(largest, math.prod(size or 1 for size in output.shape[1:]))
    return largest


def predict_in_batches(
    model: "keras.Model", inputs: npt.NDArray[Any], *, batch_size: int
) -> npt.NDArray[np.float32]:
    """Returns a model's outputs (N, ...) for its inputs (N, ...), as `predict` would.

    It avoids the data set that `predict` creates under TensorFlow: its autotuning thread can delay
    the return by as long as the prediction took.
    """
    outputs = [
        model.predict_on_batch(inputs[start : start + batch_size])
        for start in range(0, len(inputs), batch_size)
    ]
    return np.concatenate(outputs)
