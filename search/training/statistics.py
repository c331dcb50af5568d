"""Batch normalisation's statistics, gathered anew over clean training images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from search.data import Share
    from search.training.features.source import FeatureShare

# Means and variances of so many images are exact to a few per cent of a deviation.
_MOST_IMAGES = 1024
_FEWEST_IN_BATCH = 32


def recompute_statistics(
    network: "keras.Model", share: "Share | FeatureShare", *, batch_size: int, seed: int
) -> bool:
    """Replaces the moving statistics of a network by those of (a sample of) its training images.

    Moving averages are gathered while weights change, under dropout and augmentation, and over few
    steps where images are few. The network is used without any of these: its statistics are those
    of clean images without dropout (Wu and Johnson, 2021, "Rethinking Batch in BatchNorm").
    Returns False for a network that has no batch normalisation to train, which stays as it is.
    """
    import keras

    normalizing = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not normalizing:
        return False
    images = min(len(share), max(_MOST_IMAGES, batch_size))
    order = np.random.default_rng([seed, 2]).permutation(len(share))[:images]
    batches = max(1, images // max(batch_size, _FEWEST_IN_BATCH))
    dropping = [layer for layer in network._flatten_layers() if hasattr(layer, "rate")]
    with _restored(dropping, "rate"), _restored(normalizing, "momentum"):
        for layer in dropping:
            layer.rate = 0.0
        for number, positions in enumerate(np.array_split(order, batches)):
            # The moving averages become the plain average of all batches.
            for layer in normalizing:
                layer.momentum = number / (number + 1)
            network(share.gather(positions)[0], training=True)
    return True


@contextmanager
def _restored(layers: list[Any], name: str) -> Iterator[None]:
    """Gives layers the attribute back that they had before the block."""
    values = [getattr(layer, name) for layer in layers]
    try:
        yield
    finally:
        for layer, value in zip(layers, values, strict=True):
            setattr(layer, name, value)
