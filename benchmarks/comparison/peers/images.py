"""The images for the peers: our split of the same files, resized in the usual way."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from search.data import Split, Subset, load_data, split_data
from search.data.types import Images, Indices

MOST_PIXELS = 64


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images (N, height, width, 3) uint8 RGB of at most 64 pixels per side, and labels (N,)."""

    images: Images
    labels: Indices


def load_split(source: str, seed: int) -> Split:
    """Returns the split that `python -m search.run --data SOURCE --seed SEED` uses."""
    return split_data(load_data(source), seed=seed)


def labelled(subset: Subset) -> Labelled:
    """Returns a subset's images, downsized so that their longer side has at most 64 pixels."""
    images, labels = subset.gather(slice(None))
    height, width = images.shape[1:3]
    scale = MOST_PIXELS / max(height, width)
    if scale < 1:
        size = round(width * scale), round(height * scale)
        images = np.stack(
            [
                np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BOX))
                for each in images
            ]
        )
    return Labelled(images, labels)
