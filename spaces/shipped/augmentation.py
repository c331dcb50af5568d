"""The augmentation space: each augmentation has a strength; zero disables it."""

from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution

from cnn_blocks.augmentation import Augmentation
from spaces.candidate import Candidate
from spaces.reference import reference_model, reference_training
from spaces.sizes import pixels_at_32
from spaces.suggest import Trial, suggest
from spaces.task import Task


def augmentation(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests the augmentation for training the reference network.

    RandAugment and AugMix cost time and exclude each other. "crop_padding" is in pixels of a
    32x32 image.
    """
    chosen = trial.suggest_categorical("policy", ["none", "randaugment", "augmix"])
    strength: dict[str, Any] = {"randaugment": 0.0, "augmix": 0.0}
    if chosen != "none":
        strength[chosen] = FloatDistribution(0.05, 0.8)
    policy = suggest(
        trial,
        Augmentation,
        horizontal_flip=CategoricalDistribution([False, True]),
        crop_padding=pixels_at_32(trial.suggest_int("crop_padding", 0, 6), task),
        translation=FloatDistribution(0.0, 0.15),
        rotation=FloatDistribution(0.0, 20.0),
        zoom=FloatDistribution(0.0, 0.2),
        contrast=FloatDistribution(0.0, 0.4),
        brightness=FloatDistribution(0.0, 0.3),
        erasing=FloatDistribution(0.0, 0.3),
        mixup=FloatDistribution(0.0, 0.4),
        cutmix=FloatDistribution(0.0, 1.0),
        **strength,
    )
    training = reference_training(task, augmentation=policy)
    return Candidate(model=reference_model(task=task), training=training)
