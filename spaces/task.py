"""What a space may know about the task: the images, the classes and the training budget."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from cnn_blocks.config import Configuration


class Task(Configuration):
    """The task for which a study suggests candidates; stored with the study.

    A space takes it as a keyword argument, `def space(trial, *, task=Task())`, and derives from it
    what need not be searched: how early to downsample large images, how large a batch may be.

    Attributes:
        image_shape: (height, width, 3) of the images in pixels.
        classes: The number of classes.
        images: The number of training images in a trial.
        multiply_accumulates: Multiply-accumulates of forward passes that the final training can
            spend on each image over its whole length; None if time is not limited.
    """

    image_shape: tuple[PositiveInt, PositiveInt, Literal[3]] = (32, 32, 3)
    classes: PositiveInt = 10
    images: PositiveInt = 50_000
    multiply_accumulates: PositiveFloat | None = None

    @property
    def longest_side(self) -> int:
        """The longer of height and width, in pixels."""
        return max(self.image_shape[:2])
