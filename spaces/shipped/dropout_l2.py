"""The regularisation space: dropout, its schedule, L2 and decoupled weight decay."""

from cnn_blocks import Pooled
from spaces import Candidate, Task, Trial, reference_model, reference_training, suggest_augmentation


def dropout_l2(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests the regularisation of the reference network."""
    model = reference_model(
        task=task,
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        dropout_schedule=trial.suggest_categorical("dropout_schedule", ["constant", "rising"]),
        l2=trial.suggest_float("l2", 1e-7, 1e-3, log=True),
        head=Pooled(pooling="max", dropout=trial.suggest_float("head_dropout", 0.0, 0.5)),
    )
    training = reference_training(
        task,
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 0.5, log=True),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
        augmentation=suggest_augmentation(trial, task),
    )
    return Candidate(model=model, training=training)
