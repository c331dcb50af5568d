"""The endless stream of training batches, a function of (seed, step)."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search.data import Subset
    from search.training.features.source import FeatureSubset

Batch = tuple[dict[str, npt.NDArray[np.uint8 | np.float16] | npt.NDArray[np.int64]]]

_BATCHES_AHEAD = 2


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Returns the number of full batches in an epoch, at least one."""
    return max(1, images // batch_size)


def training_batches(
    subset: "Subset | FeatureSubset", *, batch_size: int, seed: int, first_step: int
) -> Iterator[Batch]:
    """Yields batches from step `first_step` on, without end, in a new order each epoch.

    Images are (B, H, W, 3) uint8 (or features), labels (B,) int64. Of an image with several views,
    each epoch draws one at random. Images that do not fill the last batch are left out for that
    epoch, so that all batches have one shape and compile once; each epoch leaves out other images.
    """
    size = min(batch_size, len(subset))
    epoch, skipped = divmod(first_step, steps_per_epoch(len(subset), batch_size))
    while True:
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(subset))
        if subset.views > 1:
            order += len(subset) * generator.integers(subset.views, size=len(subset))
        for start in range(skipped * size, len(order) - size + 1, size):
            images, labels = subset.gather(order[start : start + size])
            yield ({"images": images, "labels": labels},)
        epoch, skipped = epoch + 1, 0


def as_input(batches: Iterator[Any]) -> Any:
    """Returns the endless batches in the form that `fit` takes under the current backend.

    Under TensorFlow this is a `tf.data.Dataset` without autotuning. The one that Keras would make
    is autotuned by a thread that may miss its cancellation; `fit` then waits for that thread to
    wake up, for as long as the training took, but at most a minute.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    first = next(batches)
    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec(array.shape, array.dtype), first
    )
    dataset = tf.data.Dataset.from_generator(
        lambda: itertools.chain([first], batches), output_signature=signature
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(_BATCHES_AHEAD).with_options(options)
