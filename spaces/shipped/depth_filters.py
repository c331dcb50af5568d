"""The architecture space: depth, filters, kernels, pooling, regularisation, head."""

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from spaces.augmenting import suggest_augmentation
from spaces.candidate import Candidate
from spaces.reference import reference_training
from spaces.sizes import input_size, most_reductions, with_stem
from spaces.stages import growing_filters, scheduled_dropout, staged
from spaces.suggest import Trial
from spaces.task import Task


def depth_filters(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests a plain CNN stage by stage, its learning rate, and horizontal flips."""
    training = reference_training(
        task,
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 5e-2, log=True),
        augmentation=suggest_augmentation(trial, task),
    )
    return Candidate(model=plain_network(trial, task=task), training=training)


def plain_network(trial: Trial, *, task: Task = Task()) -> ModelConfig:
    """Suggests a plain CNN stage by stage."""
    stages = trial.suggest_int("stages", 2, max(2, min(4, most_reductions(task))))
    first = trial.suggest_int("filters", 16, 96, log=True)
    growth = trial.suggest_float("filters_growth", 1.0, 2.5)
    dropout = trial.suggest_float("dropout", 0.0, 0.4)
    schedule = trial.suggest_categorical("dropout_schedule", ["constant", "rising"])
    block = Plain(
        kernel_size=trial.suggest_int("kernel_size", 3, 5, step=2),
        activation=trial.suggest_categorical(
            "activation", ["relu", "leaky_relu", "elu", "gelu", "silu"]
        ),
        normalization=trial.suggest_categorical("normalization", ["batch", "none"]),
        order=trial.suggest_categorical("normalization_order", ["before", "after"]),
        l2=trial.suggest_float("l2", 1e-7, 1e-3, log=True),
    )
    backbone = staged(
        block,
        filters=growing_filters(first, growth, stages),
        depth=trial.suggest_int("convolutions", 1, 3),
        reduction=trial.suggest_categorical("reduction", ["max", "average", "stride"]),
        place="first",
        dropout=scheduled_dropout(dropout, schedule, stages),
    )
    stem_filters = trial.suggest_int("stem_filters", 0, 32, step=8)
    dense_layers = trial.suggest_int("dense_layers", 0, 2)
    head = Pooled(
        pooling=trial.suggest_categorical("pooling", ["average", "max", "flatten"]),
        layers=tuple(
            DenseLayer(
                units=trial.suggest_int(f"dense_{index + 1}_units", 32, 256, log=True),
                activation=block.activation,
                dropout=dropout,
            )
            for index in range(dense_layers)
        ),
    )
    return ModelConfig(
        input_size=input_size(task),
        backbone=with_stem(backbone, block, filters=stem_filters, task=task),
        head=head,
    )
