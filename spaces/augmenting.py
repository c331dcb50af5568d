"""Suggests augmentation whose strength does not depend on the image size."""

from typing import Any

from cnn_blocks.augmentation import Augmentation
from spaces.sizes import pixels_at_32
from spaces.suggest import Trial
from spaces.task import Task


def suggest_augmentation(trial: Trial, task: Task, **fixed: Any) -> Augmentation:
    """Suggests whether to flip images; crops are padded by an eighth of the shorter side.

    `fixed` sets other augmentations. Parameter: "horizontal_flip".
    """
    return Augmentation(
        horizontal_flip=trial.suggest_categorical("horizontal_flip", [False, True]),
        crop_padding=pixels_at_32(4, task),
        **fixed,
    )


def suggest_strong_augmentation(trial: Trial, task: Task) -> Augmentation:
    """Suggests horizontal flips, padded crops, erasing and CutMix.

    Parameters: "horizontal_flip", "crop_padding" (in pixels of a 32x32 image), "erasing",
    "cutmix".
    """
    return Augmentation(
        horizontal_flip=trial.suggest_categorical("horizontal_flip", [False, True]),
        crop_padding=pixels_at_32(trial.suggest_int("crop_padding", 0, 6), task),
        erasing=trial.suggest_float("erasing", 0.0, 0.3),
        cutmix=trial.suggest_float("cutmix", 0.0, 1.0),
    )
