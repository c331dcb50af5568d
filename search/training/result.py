"""What a training says on its way, and what it ends with."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cnn_blocks.build import assign_head_weights, assign_weights, build_model
from cnn_blocks.config import InputSpec
from search.training.mirroring import MirroredAccuracy
from spaces.candidate import Candidate

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Report:
    """One validated moment of a training.

    `step` counts intervals of a training measured in steps, else units of 1/reports_per_epoch of an
    epoch; `epoch` says how often each training image was seen. `metrics` holds loss and accuracy on
    the training images so far in the interval, and val_* on the validation images.
    """

    step: int
    epoch: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class FitResult:
    """A finished training; `history` has one row an interval, an epoch where epochs count.

    `best_row` is the row whose weights these are: the last one unless training stopped early.
    `images_per_second` counts training steps only, without validation and compiling. Where the head
    was trained on a frozen backbone's features, `weights` are the head's, and `backbone_seed` is
    what the backbone is built from. `mirrored` says how mirrored validation images fare, where that
    was asked for.
    """

    candidate: Candidate
    spec: InputSpec
    weights: list[npt.NDArray[Any]]
    history: list[dict[str, float]]
    best_row: int
    seconds: float
    images_per_second: float
    parameters: int
    backbone_seed: int | None = None
    mirrored: MirroredAccuracy | None = None

    @property
    def best(self) -> dict[str, float]:
        """The record of the moment whose weights these are."""
        return self.history[self.best_row]

    @property
    def epochs_trained(self) -> float:
        """How often each training image was seen; a whole number where epochs count."""
        return self.history[-1]["epoch"]

    @cached_property
    def model(self) -> "keras.Model":
        """The float32 inference model with the trained weights."""
        if self.backbone_seed is not None:
            model = build_model(self.candidate.model, self.spec, seed=self.backbone_seed)
            assign_head_weights(model, self.weights)
        else:
            model = build_model(self.candidate.model, self.spec, pretrained=False)
            assign_weights(model, self.weights)
        return model
