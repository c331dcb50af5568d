"""Prints the training speed of the reference network on this machine, in images per second.

    python -m benchmarks.comparison.speed

It uses random 32x32 images in batches of 256, augmented with flips and padded crops. Machines are
compared by this speed. Takes about 25 s on 2 CPU cores.
"""

import numpy as np

from cnn_blocks.config import InputSpec
from search.data import Subset
from search.system.runtime import start_keras
from search.training import fit
from spaces.candidate import Candidate
from spaces.reference import reference_model, reference_training

_BATCH_SIZE = 256
_STEPS = 16
_CLASSES = 10


def images_per_second(*, steps: int = _STEPS, batch_size: int = _BATCH_SIZE) -> float:
    """Trains for two epochs of `steps` steps and returns the speed without compiling."""
    start_keras()
    images = steps * batch_size
    generator = np.random.default_rng(0)
    subset = Subset(
        generator.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8),
        generator.integers(0, _CLASSES, images),
        np.arange(images),
    )
    candidate = Candidate(
        # The reference network of the time when the time limits were chosen.
        model=reference_model(activation="gelu"),
        training=reference_training(epochs=2, batch_size=batch_size, optimizer="adamw"),
    )
    names = tuple(f"class {number}" for number in range(_CLASSES))
    spec = InputSpec(image_shape=(32, 32, 3), class_names=names)
    return fit(candidate, subset, spec=spec, seed=0).images_per_second


if __name__ == "__main__":
    print(round(images_per_second()))
