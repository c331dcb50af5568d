"""Architecture, regularisation, optimisation and augmentation in one space."""

from cnn_blocks.augmentation import Augmentation
from spaces.candidate import Candidate
from spaces.depth_filters import depth_filters
from spaces.suggest import Trial


def full_cnn(trial: Trial) -> Candidate:
    """Suggests a network as `depth_filters` does, and how it is trained."""
    candidate = depth_filters(trial)
    return candidate.with_training(
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.8, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-5, 5e-3, log=True),
        batch_size=trial.suggest_int("batch_size", 64, 512, log=True),
        warmup=trial.suggest_float("warmup", 0.05, 0.4),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
        augmentation=Augmentation(
            horizontal_flip=trial.suggest_categorical("horizontal_flip", [False, True]),
            crop_padding=trial.suggest_int("crop_padding", 0, 6),
            erasing=trial.suggest_float("erasing", 0.0, 0.3),
            cutmix=trial.suggest_float("cutmix", 0.0, 1.0),
        ),
    )
