"""How long a training is, and in which parts it is validated, saved and reported."""

import math
from dataclasses import dataclass

from search.training.batches import steps_per_epoch
from spaces.candidate import TrainingConfig

# The parts of a training that is measured in steps, where nothing else is said.
DEFAULT_INTERVALS = 10


@dataclass(frozen=True)
class Length:
    """A training as `intervals` of `steps` optimizer steps; validation stands behind each.

    Where the length is given in epochs an interval is an epoch. `steps_per_epoch` are the steps in
    which every training image is seen about once.
    """

    steps: int
    intervals: int
    steps_per_epoch: int

    @property
    def epochs_per_interval(self) -> float:
        """How often each training image is seen in an interval, about."""
        return self.steps / self.steps_per_epoch

    @property
    def epochs(self) -> float:
        """How often each training image is seen in all, about."""
        return self.intervals * self.epochs_per_interval


def training_length(
    training: TrainingConfig, images: int, intervals: int | None = None, *, compared: bool = True
) -> Length:
    """Returns the length of a training on so many images.

    A training measured in steps is divided into `intervals` equal parts, and its steps are rounded
    to whole ones in each. Where nothing is `compared` at their ends there may be fewer parts, so
    that the steps stay about as many.
    """
    in_epoch = steps_per_epoch(images, training.batch_size)
    if training.steps is None:
        return Length(in_epoch, training.epochs, in_epoch)
    parts = max(1, min(intervals or DEFAULT_INTERVALS, training.steps))
    if not compared:
        each = math.ceil(training.steps / parts)
        return Length(each, max(1, round(training.steps / each)), in_epoch)
    return Length(max(1, round(training.steps / parts)), parts, in_epoch)
