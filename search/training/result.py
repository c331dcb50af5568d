"""What a training says on its way, and what it ends with."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cnn_blocks.build import assign_head_weights, assign_weights, build_model
from cnn_blocks.config import InputSpec
from spaces.candidate import Candidate

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Report:
    """One validated moment of a training.

    `step` counts in units of 1/reports_per_epoch of an epoch; `metrics` holds loss and accuracy
    on the training images so far in the epoch, and val_* on the validation images.
    """

    step: int
    epoch: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class FitResult:
    """A finished training; `history` has one row an epoch.

    `images_per_second` counts training steps only, without validation and compiling. Where the head
    was trained on a frozen backbone's features, `weights` are the head's, and `backbone_seed` is
    what the backbone is built from.
    """

    candidate: Candidate
    spec: InputSpec
    weights: list[npt.NDArray[Any]]
    history: list[dict[str, float]]
    best_epoch: int
    epochs_trained: int
    seconds: float
    images_per_second: float
    parameters: int
    backbone_seed: int | None = None

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
