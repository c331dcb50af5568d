"""The endless stream of training batches, a function of (seed, epoch)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search.data import Share

Batch = tuple[dict[str, npt.NDArray[np.uint8] | npt.NDArray[np.int64]]]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Returns the number of full batches in an epoch, at least one."""
    return max(1, images // batch_size)


def training_batches(
    share: "Share", *, batch_size: int, seed: int, first_epoch: int
) -> Iterator[Batch]:
    """Yields batches epoch after epoch, each epoch in an order of its own.

    Images are (B, H, W, 3) uint8, labels (B,) int64. The images that do not fill a last batch sit
    out one epoch: batches of one shape compile once, and the order changes who sits out.
    """
    size = min(batch_size, len(share))
    epoch = first_epoch
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(len(share))
        for start in range(0, len(order) - size + 1, size):
            images, labels = share.gather(order[start : start + size])
            yield ({"images": images, "labels": labels},)
        epoch += 1
