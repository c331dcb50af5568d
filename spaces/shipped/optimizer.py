"""The optimisation space: optimizer, learning rate, schedule, batch size."""

from typing import Any

from spaces.augmenting import suggest_augmentation
from spaces.candidate import Candidate
from spaces.reference import most_images_a_batch, reference_model, reference_training
from spaces.suggest import Trial
from spaces.task import Task


def optimizer(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests the optimisation of the reference network; each optimizer has its own ranges."""
    name = trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd", "muon"])
    changes: dict[str, Any] = {
        "optimizer": name,
        "batch_size": trial.suggest_int("batch_size", 16, most_images_a_batch(task), log=True),
        "schedule": trial.suggest_categorical(
            "schedule", ["constant", "cosine", "one_cycle", "step"]
        ),
        "warmup": trial.suggest_float("warmup", 0.0, 0.4),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        "weight_decay": 0.0,
        "augmentation": suggest_augmentation(trial, task),
    }
    if name == "sgd":
        changes["learning_rate"] = trial.suggest_float("sgd_learning_rate", 0.01, 1.0, log=True)
        changes["momentum"] = trial.suggest_float("sgd_momentum", 0.8, 0.98)
        changes["weight_decay"] = trial.suggest_float("sgd_weight_decay", 1e-5, 1e-2, log=True)
    elif name == "muon":
        changes["learning_rate"] = trial.suggest_float("muon_learning_rate", 1e-3, 5e-2, log=True)
        changes["weight_decay"] = trial.suggest_float("muon_weight_decay", 1e-4, 0.5, log=True)
    else:
        changes["learning_rate"] = trial.suggest_float("adam_learning_rate", 1e-4, 2e-2, log=True)
    if name == "adamw":
        changes["weight_decay"] = trial.suggest_float("adamw_weight_decay", 1e-4, 0.5, log=True)
    return Candidate(model=reference_model(task=task), training=reference_training(task, **changes))
