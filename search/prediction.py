"""How many images a network predicts at once."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

_MOST_IMAGES = 512
_FEWEST_IMAGES = 8
# Of the widest layer's results, for all images of a batch.
_LARGEST_BYTES = 2**28
_ELEMENT_BYTES = 4


def prediction_batch(largest_activation: int) -> int:
    """Returns a batch size for a network whose widest layer puts out so many elements an image.

    512 images of 32x32 pixels, fewer where a pretrained network takes large ones.
    """
    fitting = _LARGEST_BYTES // (_ELEMENT_BYTES * max(1, largest_activation))
    return max(_FEWEST_IMAGES, min(_MOST_IMAGES, fitting))


def prediction_batch_of(model: "keras.Model") -> int:
    """Returns a batch size for a model."""
    import keras

    outputs = [
        output for operation in model.operations for output in keras.tree.flatten(operation.output)
    ]
    return prediction_batch(
        max(math.prod(size or 1 for size in output.shape[1:]) for output in outputs)
    )
