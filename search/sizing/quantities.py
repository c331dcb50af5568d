"""The quantities from which the cost of a training step and of validation is computed."""

from collections.abc import Mapping
from dataclasses import asdict

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import ModelShape
from cnn_blocks.work import Work
from search.training.prediction import prediction_batch
from spaces.candidate import TrainingConfig

Quantities = Mapping[str, float]

# Copies of a weight that an optimizer reads and writes: the weight and its moments.
_COPIES = {"sgd": 2, "adam": 3, "adamw": 3, "muon": 2}
# Muon's iterations. One multiply-accumulate of the network stands for three with its gradients.
_MUON_ITERATIONS = 5
_PASSES = 3
# The cost of each augmentation relative to an affine one.
_AUGMENTATION = {
    "horizontal_flip": 0.7,
    "crop_padding": 1.0,
    "translation": 1.0,
    "rotation": 1.0,
    "zoom": 1.0,
    "contrast": 0.4,
    "brightness": 0.4,
    "randaugment": 18.0,
    "augmix": 50.0,
    "erasing": 2.0,
    "mixup": 0.5,
    "cutmix": 0.5,
}
# These do not grow with the batch.
_PER_STEP = {"layers", "variables"}


def of_step(
    shape: ModelShape, training: TrainingConfig, images: int, *, on_features: bool = False
) -> Quantities:
    """Returns the quantities of one training step with `images` images.

    The prefix "forward_" marks layers without a gradient. With `on_features` they are left out,
    because the frozen part is evaluated beforehand.
    """
    copies = _COPIES[training.optimizer]
    step = {"steps": 1.0, "parameters": float(shape.trainable_parameters * copies)}
    step |= _work(shape.work, images)
    step["variables"] *= copies
    if training.optimizer == "muon":
        step["multiplies"] += shape.matrix_multiplies * _MUON_ITERATIONS / _PASSES
    if not on_features:
        step |= _forward(shape.frozen_work, images)
        step["pixels"] = shape.image_elements * images
        costs = _augmentations(training.augmentation)
        step["augmentations"] = len(costs)
        step["augmented"] = step["pixels"] * sum(costs)
    return step


def of_validation(shape: ModelShape, *, on_features: bool = False) -> Quantities:
    """Returns the quantities of validating one image, with its share of a batch's fixed costs."""
    work = shape.work if on_features else shape.work + shape.frozen_work
    images = prediction_batch(shape.largest_activation)
    batch = {"forward_steps": 1.0, **_forward(work, images)}
    if not on_features:
        batch["forward_pixels"] = shape.image_elements * images
    return {name: amount / images for name, amount in batch.items()}


def _work(work: Work, images: int) -> dict[str, float]:
    return {
        name: float(amount if name in _PER_STEP else amount * images)
        for name, amount in asdict(work).items()
    }


def _forward(work: Work, images: int) -> dict[str, float]:
    amounts = _work(work, images)
    del amounts["variables"]
    return {f"forward_{name}": amount for name, amount in amounts.items()}


def _augmentations(augmentation: Augmentation) -> list[float]:
    """Returns the relative costs of the augmentations that are on."""
    return [cost for name, cost in _AUGMENTATION.items() if getattr(augmentation, name)]
