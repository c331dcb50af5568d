"""The endless stream of training batches, a function of (seed, step)."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search.data import Share
    from search.training.features.source import FeatureShare

Batch = tuple[dict[str, npt.NDArray[np.uint8 | np.float16] | npt.NDArray[np.int64]]]

_BATCHES_AHEAD = 2


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Returns the number of full batches in an epoch, at least one."""
    return max(1, images // batch_size)


def training_batches(
    share: "Share | FeatureShare", *, batch_size: int, seed: int, first_step: int
) -> Iterator[Batch]:
    """Yields batches epoch after epoch, each epoch in an order of its own, from a step on.

    Images are (B, H, W, 3) uint8, or features, labels (B,) int64; of an image with several views a
    batch holds any one. The images that do not fill a last batch sit out one epoch: batches of one
    shape compile once, and the order changes who sits out.
    """
    size = min(batch_size, len(share))
    epoch, skipped = divmod(first_step, steps_per_epoch(len(share), batch_size))
    while True:
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(share))
        if share.views > 1:
            order += len(share) * generator.integers(share.views, size=len(share))
        for start in range(skipped * size, len(order) - size + 1, size):
            images, labels = share.gather(order[start : start + size])
            yield ({"images": images, "labels": labels},)
        epoch, skipped = epoch + 1, 0


def as_input(batches: Iterator[Any]) -> Any:
    """Returns endless batches as what `fit` takes under the running backend.

    Under TensorFlow a data set of our own. Keras' one is tuned while it runs, by a thread that
    may miss its cancellation: `fit` then awaits its next turn, for up to as long again as the
    training took, at most a minute.
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
