"""The space of the hand-made baselines: their networks, stage by stage, and their training."""

from typing import Any

from cnn_blocks import Augmentation, DenseLayer, ModelConfig, Plain, Pooled, Stage, Staged
from spaces import Candidate, Task, TrainingConfig, Trial, input_size


def hand_made(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests everything that varies between the published hand-made networks."""
    size = trial.suggest_categorical("input_size", ["as it is", "64"])
    shared = {
        "activation": trial.suggest_categorical("activation", ["relu", "gelu", "silu", "mish"]),
        "initializer": trial.suggest_categorical("initializer", ["glorot_uniform", "he_uniform"]),
    }
    model = ModelConfig(
        preprocessing=trial.suggest_categorical("preprocessing", ["scale", "standardize"]),
        input_size=input_size(task) if size == "as it is" else int(size),
        backbone=_backbone(trial, shared),
        head=_head(trial, shared),
    )
    return Candidate(model=model, training=_training(trial))


def _backbone(trial: Trial, shared: dict[str, Any]) -> Staged:
    stages = trial.suggest_int("stages", 2, 5)
    deep = stages > 3  # without padding, too few pixels would remain
    shared = {
        **shared,
        "order": "after",
        "padding": "same" if deep else trial.suggest_categorical("padding", ["same", "valid"]),
        "l2": trial.suggest_float("l2", 0.0, 0.005),
    }
    return Staged(
        stages=tuple(_stage(trial, f"stage_{number}_", shared) for number in range(1, stages + 1))
    )


def _stage(trial: Trial, prefix: str, shared: dict[str, Any]) -> Stage:
    normalized = trial.suggest_categorical(f"{prefix}normalized", ["each", "last", "none"])
    block = Plain(
        filters=trial.suggest_int(f"{prefix}filters", 16, 512, log=True),
        normalization="batch" if normalized == "each" else "none",
        **shared,
    )
    return Stage(
        block=block,
        depth=trial.suggest_int(f"{prefix}convolutions", 1, 3),
        normalization="batch" if normalized == "last" else "none",
        reduction=trial.suggest_categorical(f"{prefix}reduction", ["max", "none"]),
        dropout=trial.suggest_float(f"{prefix}dropout", 0.0, 0.6),
    )


def _head(trial: Trial, shared: dict[str, Any]) -> Pooled:
    layers = trial.suggest_int("dense_layers", 0, 2)
    return Pooled(
        pooling=trial.suggest_categorical("pooling", ["average", "max", "flatten"]),
        dropout=trial.suggest_float("head_dropout", 0.0, 0.6),
        layers=tuple(
            DenseLayer(
                units=trial.suggest_int(f"dense_{number}_units", 32, 512, log=True),
                batch_normalization=trial.suggest_categorical(
                    f"dense_{number}_normalized", [False, True]
                ),
                dropout=trial.suggest_float(f"dense_{number}_dropout", 0.0, 0.6),
                l2=trial.suggest_float(f"dense_{number}_l2", 0.0, 0.005),
                **shared,
            )
            for number in range(1, layers + 1)
        ),
    )


def _training(trial: Trial) -> TrainingConfig:
    optimizer = trial.suggest_categorical("optimizer", ["adam", "adamw"])
    decay = trial.suggest_float("weight_decay", 1e-4, 0.1, log=True) if optimizer == "adamw" else 0
    return TrainingConfig(
        batch_size=trial.suggest_int("batch_size", 32, 512, log=True),
        optimizer=optimizer,
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        weight_decay=decay,
        schedule=trial.suggest_categorical("schedule", ["constant", "plateau", "cosine"]),
        warmup=0.0,
        class_weights=trial.suggest_categorical("class_weights", ["none", "balanced"]),
        augmentation=Augmentation(
            horizontal_flip=trial.suggest_categorical("horizontal_flip", [False, True]),
            translation=trial.suggest_float("translation", 0.0, 0.15),
            rotation=trial.suggest_float("rotation", 0.0, 20.0),
            zoom=trial.suggest_float("zoom", 0.0, 0.2),
        ),
    )
