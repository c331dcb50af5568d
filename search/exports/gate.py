"""Compares the outputs of an exported file with those of Keras; every export must pass."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from search.exports.formats import Images, Predict

LARGEST_DIFFERENCE = 1e-4
MOST_ACCURACY_LOST = 0.01
BATCH = 32
_FEWEST_CALLS = 5
_MOST_CALLS = 100
_SECONDS_OF_CALLS = 1.0


@dataclass(frozen=True)
class Comparison:
    """How an exported file's outputs compare with those of Keras on the same images.

    `largest_difference` is the largest difference between two probabilities, NaN if an output is
    not a number.
    """

    images: int
    largest_difference: float
    agreeing_labels: int
    accuracy: float
    keras_accuracy: float

    def objection(self, *, is_exact: bool) -> str | None:
        """Returns why the file must not be kept; None if it agrees with Keras."""
        if not math.isfinite(self.largest_difference):
            return "some of its outputs are not numbers"
        if is_exact and self.largest_difference > LARGEST_DIFFERENCE:
            return (
                f"its outputs differ from those of Keras by {self.largest_difference:.1e}, more "
                f"than {LARGEST_DIFFERENCE:g}"
            )
        if is_exact and self.agreeing_labels < self.images:
            return (
                f"it answers like Keras for {self.agreeing_labels} of {self.images} images, not "
                f"for all"
            )
        lost = self.keras_accuracy - self.accuracy
        if lost > MOST_ACCURACY_LOST:
            return (
                f"its accuracy is {self.accuracy:.1%}, that of Keras {self.keras_accuracy:.1%}: "
                f"more than {MOST_ACCURACY_LOST * 100:g} point is lost"
            )
        return None


def compare(
    outputs: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
) -> Comparison:
    """Compares probabilities (N, classes) with those of Keras; `labels` (N,) are the true ones.

    Raises ValueError if their shapes differ.
    """
    if outputs.shape != reference.shape:
        raise ValueError(
            f"its outputs have shape {outputs.shape}, those of Keras {reference.shape}"
        )
    answers, expected = outputs.argmax(axis=1), reference.argmax(axis=1)
    return Comparison(
        images=len(reference),
        largest_difference=float(np.abs(outputs - reference).max()),
        agreeing_labels=int((answers == expected).sum()),
        accuracy=float((answers == labels).mean()),
        keras_accuracy=float((expected == labels).mean()),
    )


def predict_all(predict: Predict, images: Images) -> npt.NDArray[np.float32]:
    """Returns the probabilities (N, classes) of images, predicted in batches.

    The first batch is a single image, so a file with a fixed batch size fails here.
    """
    starts = [0, *range(1, len(images), BATCH)]
    ends = [*starts[1:], len(images)]
    parts = [predict(images[start:end]) for start, end in zip(starts, ends, strict=True)]
    return np.concatenate(parts)


def latency(predict: Predict, images: Images) -> float:
    """Returns the median milliseconds that one batch takes."""
    predict(images)  # a warm-up: the runtime's preparation does not count
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < _FEWEST_CALLS or (
        len(taken) < _MOST_CALLS and time.perf_counter() - began < _SECONDS_OF_CALLS
    ):
        start = time.perf_counter()
        predict(images)
        taken.append(time.perf_counter() - start)
    return 1000 * median(taken)
