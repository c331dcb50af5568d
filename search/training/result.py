"""The reports and the result of a training."""

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
class ValidationReport:
    """The metrics of a training at one validation.

    In a training measured in steps, `step` counts intervals; otherwise its unit is
    1/reports_per_epoch of an epoch. `epoch` is how often each training image was seen. `metrics`
    holds the loss and accuracy on the training images so far in the interval, and val_* on the
    validation images.
    """

    step: int
    epoch: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class FitResult:
    """A finished training. `history` has one row per interval, or per epoch if measured in epochs.

    `weights` belong to row `best_row`: the last one unless training stopped early.
    `images_per_second` counts training steps only, without validation and compiling. If the head
    was trained on a frozen backbone's features, `weights` are the head's weights, and the backbone
    is built with seed `backbone_seed`. `mirrored` is the accuracy on mirrored validation images, if
    requested.
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
        """The row of `history` that belongs to the weights."""
        return self.history[self.best_row]

    @property
    def epochs_trained(self) -> float:
        """How often each training image was seen; whole if the training is measured in epochs."""
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
