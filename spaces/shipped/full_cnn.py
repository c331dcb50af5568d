"""Architecture, regularisation, optimisation and augmentation in one space."""

from spaces.augmenting import suggest_strong_augmentation
from spaces.candidate import Candidate
from spaces.reference import most_images_a_batch, reference_training
from spaces.shipped.depth_filters import plain_network
from spaces.suggest import Trial
from spaces.task import Task


def full_cnn(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests a network as `depth_filters` does, and its training."""
    training = reference_training(
        task,
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 5e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 0.5, log=True),
        batch_size=trial.suggest_int("batch_size", 16, most_images_a_batch(task), log=True),
        warmup=trial.suggest_float("warmup", 0.05, 0.4),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
        augmentation=suggest_strong_augmentation(trial, task),
    )
    return Candidate(model=plain_network(trial, task=task), training=training)
