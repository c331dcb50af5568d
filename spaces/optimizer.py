"""The optimisation space: optimizer, learning rate, schedule, batch size."""

from spaces.candidate import Candidate
from spaces.reference import reference_model, reference_training
from spaces.suggest import Trial


def optimizer(trial: Trial) -> Candidate:
    """Suggests how the reference network is optimised; each optimizer has its own ranges."""
    name = trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd"])
    changes = {
        "optimizer": name,
        "batch_size": trial.suggest_int("batch_size", 64, 512, log=True),
        "schedule": trial.suggest_categorical(
            "schedule", ["constant", "cosine", "one_cycle", "step"]
        ),
        "warmup": trial.suggest_float("warmup", 0.0, 0.4),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        "weight_decay": 0.0,
    }
    if name == "sgd":
        changes["learning_rate"] = trial.suggest_float("sgd_learning_rate", 0.01, 1.0, log=True)
        changes["momentum"] = trial.suggest_float("sgd_momentum", 0.8, 0.98)
        changes["weight_decay"] = trial.suggest_float("sgd_weight_decay", 1e-5, 1e-2, log=True)
    else:
        changes["learning_rate"] = trial.suggest_float("adam_learning_rate", 1e-4, 2e-2, log=True)
    if name == "adamw":
        changes["weight_decay"] = trial.suggest_float("adamw_weight_decay", 1e-4, 0.5, log=True)
    training = reference_training(**changes)
    return Candidate(model=reference_model(), training=training)
