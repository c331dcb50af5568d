"""What a training step and a validation consist of, in the units that coefficients price."""

from collections.abc import Mapping
from dataclasses import asdict

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import ModelShape
from cnn_blocks.work import Work
from search.prediction import prediction_batch
from spaces.candidate import TrainingConfig

Quantities = Mapping[str, float]

# Copies of a weight that an optimizer reads and writes: the weight and its moments.
_COPIES = {"sgd": 2, "adam": 3, "adamw": 3}
# What each change of images costs, beside an affine one.
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
# These cost the same however many images a step has.
_PER_STEP = {"layers", "variables"}


def of_step(
    shape: ModelShape, training: TrainingConfig, images: int, *, on_features: bool = False
) -> Quantities:
    """Returns what one training step over so many images consists of.

    Names with "forward_" are of layers without a gradient. `on_features` says that a frozen part
    is evaluated beforehand and costs a step nothing.
    """
    copies = _COPIES[training.optimizer]
    step = {"steps": 1.0, "parameters": float(shape.trainable_parameters * copies)}
    step |= _work(shape.work, images)
    step["variables"] *= copies
    if not on_features:
        step |= _forward(shape.frozen_work, images)
        step["pixels"] = shape.image_elements * images
        step["augmented"] = step["pixels"] * _augmentation(training.augmentation)
    return step


def of_validation(shape: ModelShape, *, on_features: bool = False) -> Quantities:
    """Returns what validating one image consists of, with its share of what a batch costs."""
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


def _augmentation(augmentation: Augmentation) -> float:
    return sum(cost for name, cost in _AUGMENTATION.items() if getattr(augmentation, name))
