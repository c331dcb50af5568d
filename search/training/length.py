"""The length of a training, and the intervals at which it is validated, saved and reported."""

import math
from dataclasses import dataclass

from search.training.batches import steps_per_epoch
from spaces.candidate import TrainingConfig

# The default number of intervals of a training measured in steps.
DEFAULT_INTERVALS = 10


@dataclass(frozen=True)
class Length:
    """A training of `intervals` times `steps` optimizer steps, with a validation after each.

    In a training measured in epochs an interval is an epoch. `steps_per_epoch` is the number of
    steps in which every training image is seen about once.
    """

    steps: int
    intervals: int
    steps_per_epoch: int

    @property
    def epochs_per_interval(self) -> float:
        """About how often each training image is seen in an interval."""
        return self.steps / self.steps_per_epoch

    @property
    def epochs(self) -> float:
        """About how often each training image is seen in total."""
        return self.intervals * self.epochs_per_interval


def training_length(
    training: TrainingConfig, images: int, intervals: int | None = None, *, compared: bool = True
) -> Length:
    """Returns the length of a training on this number of images.

    A training measured in steps is divided into `intervals` equal parts, each rounded to whole
    steps. If nothing is `compared` at their ends, there may be fewer parts, which keeps the total
    number of steps closer to the one asked for.
    """
    in_epoch = steps_per_epoch(images, training.batch_size)
    if training.steps is None:
        return Length(in_epoch, training.epochs, in_epoch)
    parts = max(1, min(intervals or DEFAULT_INTERVALS, training.steps))
    if not compared:
        each = math.ceil(training.steps / parts)
        return Length(each, max(1, round(training.steps / each)), in_epoch)
    return Length(max(1, round(training.steps / parts)), parts, in_epoch)
