"""The augmentation space: every change with its strength, zero for none."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cnn_blocks.augmentation import Augmentation
from spaces.candidate import Candidate
from spaces.reference import reference_model, reference_training
from spaces.suggest import Trial, suggest


def augmentation(trial: Trial) -> Candidate:
    """Suggests the augmentation that the reference network is trained with."""
    policy = suggest(
        trial,
        Augmentation,
        horizontal_flip=CategoricalDistribution([False, True]),
        crop_padding=IntDistribution(0, 6),
        translation=FloatDistribution(0.0, 0.15),
        rotation=FloatDistribution(0.0, 20.0),
        zoom=FloatDistribution(0.0, 0.2),
        contrast=FloatDistribution(0.0, 0.4),
        brightness=FloatDistribution(0.0, 0.3),
        erasing=FloatDistribution(0.0, 0.3),
        mixup=FloatDistribution(0.0, 0.4),
        cutmix=FloatDistribution(0.0, 1.0),
    )
    training = reference_training(augmentation=policy)
    return Candidate(model=reference_model(), training=training)
