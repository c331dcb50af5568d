"""Predicts how many seconds the training of a candidate takes, without training a step."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cnn_blocks.build import ModelShape
from search.sizing.coefficients import Group, compiling_seconds, seconds_by_group
from search.sizing.machine_speed import MachineSpeed
from search.sizing.quantities import of_step, of_validation
from spaces.candidate import TrainingConfig

_LARGEST_FACTOR = 2.0


@dataclass(frozen=True)
class TrainingCost:
    """The predicted cost of a training, in seconds.

    Attributes:
        step_seconds: One training step of `step_images` images.
        validation_seconds: Validating one image.
        compiling_seconds: Building, tracing and compiling, until the end of the first step.
        step_images: Images in one step.
    """

    step_seconds: float
    validation_seconds: float
    compiling_seconds: float
    step_images: int

    def training_seconds(self, steps: float, *, validated: int = 0) -> float:
        """Returns the seconds of `steps` steps, compiling, and validating `validated` images."""
        training = steps * self.step_seconds + validated * self.validation_seconds
        return self.compiling_seconds + training


def predict_cost(
    shape: ModelShape,
    training: TrainingConfig,
    speed: MachineSpeed,
    *,
    images: int,
    on_features: bool = False,
) -> TrainingCost:
    """Predicts the cost of training a network on `images` training images.

    A step has min(batch, images) images. `on_features` means that the frozen part is evaluated
    beforehand. A training in two phases (`Candidate.phases`) needs one prediction per phase.
    """
    step_images = min(training.batch_size, images)
    step = of_step(shape, training, step_images, on_features=on_features)
    step_seconds = _scaled(seconds_by_group(step, speed.table), speed)
    return TrainingCost(
        step_seconds=step_seconds,
        validation_seconds=predict_validation_seconds(shape, speed, on_features=on_features),
        compiling_seconds=compiling_seconds(step) * speed.compiling + step_seconds,
        step_images=step_images,
    )


def predict_validation_seconds(
    shape: ModelShape, speed: MachineSpeed, *, on_features: bool = False
) -> float:
    """Predicts the seconds in which a network classifies one image, in batches."""
    validation = of_validation(shape, on_features=on_features)
    return _scaled(seconds_by_group(validation, speed.table), speed)


def corrected(cost: TrainingCost, ratios: Sequence[float]) -> TrainingCost:
    """Returns a cost scaled by the median of `ratios` (measured / predicted) of finished trials.

    Ratios that are not positive and finite are ignored; without any, the cost is unchanged. The
    factor is limited to 0.5..2, because other programs may have slowed the machine down for a
    while. Compiling is not scaled.
    """
    usable = [ratio for ratio in ratios if 0 < ratio < math.inf]
    if not usable:
        return cost
    factor = min(max(statistics.median(usable), 1 / _LARGEST_FACTOR), _LARGEST_FACTOR)
    return replace(
        cost,
        step_seconds=cost.step_seconds * factor,
        validation_seconds=cost.validation_seconds * factor,
    )


def _scaled(seconds: Mapping[Group, float], speed: MachineSpeed) -> float:
    return sum(spent * speed.scales[group] for group, spent in seconds.items())
