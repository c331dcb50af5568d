"""The space of activations and poolings: GAP versus GMP versus Flatten, max versus average."""

from cnn_blocks import DenseLayer, Pooled
from spaces import Candidate, Task, Trial, reference_model, reference_training, suggest_augmentation


def activation_pooling(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests the reference network's activation, reductions and head, and horizontal flips."""
    activation = trial.suggest_categorical(
        "activation",
        ["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hard_silu"],
    )
    units = trial.suggest_int("dense_units", 0, 256, step=64)
    head = Pooled(
        pooling=trial.suggest_categorical("pooling", ["average", "max", "average_max", "flatten"]),
        layers=(DenseLayer(units=units, activation=activation),) if units else (),
    )
    model = reference_model(
        task=task,
        activation=activation,
        reduction=trial.suggest_categorical("reduction", ["max", "average", "stride"]),
        order=trial.suggest_categorical("normalization_order", ["before", "after"]),
        head=head,
    )
    training = reference_training(task, augmentation=suggest_augmentation(trial, task))
    return Candidate(model=model, training=training)
