"""What a space may know of the task: the images, the classes, and what training may cost."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from cnn_blocks.config import Configuration


class Task(Configuration):
    """The task that a study's candidates are made for; stored with the study.

    A space takes it as a keyword argument, `def space(trial, *, task=Task())`, and derives from it
    what no search has to find out: how soon to reduce large images, how large a batch may be.

    Attributes:
        image_shape: (height, width, 3) of the images in pixels.
        classes: The number of classes.
        images: The number of training images in a trial.
        multiply_accumulates: What the final training can spend on each of its images over its whole
            length, in multiply-accumulates of forward passes; None where time is not limited.
    """

    image_shape: tuple[PositiveInt, PositiveInt, Literal[3]] = (32, 32, 3)
    classes: PositiveInt = 10
    images: PositiveInt = 50_000
    multiply_accumulates: PositiveFloat | None = None

    @property
    def longest_side(self) -> int:
        """The longer of height and width, in pixels."""
        return max(self.image_shape[:2])
