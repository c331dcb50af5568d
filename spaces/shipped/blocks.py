"""The space of blocks: each stage has its own block, with filters, reduction and head."""

from typing import Any

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.bottleneck_residual import BottleneckResidual
from cnn_blocks.blocks.convnext import Convnext
from cnn_blocks.blocks.depthwise_separable import DepthwiseSeparable
from cnn_blocks.blocks.inverted_residual import InvertedResidual
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.blocks.preactivation_residual import PreactivationResidual
from cnn_blocks.blocks.residual import Residual
from cnn_blocks.blocks.vgg import Vgg
from cnn_blocks.config import ModelConfig
from cnn_blocks.convolutional import ConvolutionalBlock, ShortcutBlock
from spaces.augmenting import suggest_augmentation
from spaces.candidate import Candidate
from spaces.pooled_head import suggest_head
from spaces.reference import reference_training
from spaces.sizes import input_size, most_reductions, with_stem
from spaces.stages import scheduled_dropout, suggest_filters
from spaces.suggest import Trial
from spaces.task import Task

BLOCKS: dict[str, type[ConvolutionalBlock]] = {
    "plain": Plain,
    "vgg": Vgg,
    "residual": Residual,
    "preactivation_residual": PreactivationResidual,
    "bottleneck_residual": BottleneckResidual,
    "depthwise_separable": DepthwiseSeparable,
    "inverted_residual": InvertedResidual,
    "convnext": Convnext,
}


def blocks(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests each stage's block, depth and filters, and the fields that all blocks share."""
    stages = trial.suggest_int("stages", 2, max(2, min(4, most_reductions(task))))
    shared: dict[str, Any] = {
        "kernel_size": trial.suggest_int("kernel_size", 3, 5, step=2),
        "activation": trial.suggest_categorical(
            "activation", ["relu", "leaky_relu", "elu", "gelu", "silu", "mish", "hard_silu"]
        ),
        "normalization": trial.suggest_categorical(
            "normalization", ["batch", "layer", "group", "none"]
        ),
        "initializer": trial.suggest_categorical(
            "initializer", ["he_uniform", "he_normal", "glorot_uniform", "glorot_normal"]
        ),
    }
    reduction = trial.suggest_categorical("reduction", ["max", "average", "stride"])
    filters = suggest_filters(trial, stages, low=16, high=96)
    dropout = scheduled_dropout(
        trial.suggest_float("dropout", 0.0, 0.4),
        trial.suggest_categorical("dropout_schedule", ["constant", "rising"]),
        stages,
    )
    dropout_kind = trial.suggest_categorical("dropout_kind", ["plain", "spatial"])
    stochastic_depth = scheduled_dropout(
        trial.suggest_float("stochastic_depth", 0.0, 0.3), "rising", stages
    )
    stem_filters = trial.suggest_int("stem_filters", 16, 48, step=8)
    built = []
    for index in range(stages):
        kind = BLOCKS[trial.suggest_categorical(f"stage_{index + 1}_block", list(BLOCKS))]
        fields = {**shared, "filters": filters[index]}
        if issubclass(kind, ShortcutBlock):
            fields["stochastic_depth"] = stochastic_depth[index]
        stage = Stage(
            block=kind(**fields),
            depth=trial.suggest_int(f"stage_{index + 1}_depth", 1, 2),
            reduction=reduction,
            place="first",
            dropout=dropout[index],
            dropout_kind=dropout_kind,
        )
        built.append(stage)
    model = ModelConfig(
        input_size=input_size(task),
        backbone=with_stem(
            Staged(stages=tuple(built)), Plain(**shared), filters=stem_filters, task=task
        ),
        head=suggest_head(trial, activation=shared["activation"]),
    )
    training = reference_training(
        task,
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 5e-2, log=True),
        augmentation=suggest_augmentation(trial, task),
    )
    return Candidate(model=model, training=training)
