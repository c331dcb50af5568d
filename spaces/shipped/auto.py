"""Network families in one conditional space: from scratch, and on a pretrained backbone."""

from collections.abc import Sequence
from typing import Any

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.convnext import Convnext
from cnn_blocks.blocks.inverted_residual import InvertedResidual
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.blocks.residual import Residual
from cnn_blocks.config import ModelConfig, Reduction
from cnn_blocks.convolutional import ConvolutionalBlock
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from cnn_blocks.pretrained import Pretrained
from spaces.backbones import suggest_backbone
from spaces.candidate import Candidate, FineTuning
from spaces.reference import reference_training
from spaces.sizes import input_size, pixels_at_32, reductions, with_stem
from spaces.stages import growing_filters
from spaces.suggest import Trial
from spaces.task import Task

FAMILIES: dict[str, type[ConvolutionalBlock]] = {
    "plain": Plain,
    "residual": Residual,
    "inverted_residual": InvertedResidual,
    "convnext": Convnext,
}
# These need a pretrained backbone.
TRANSFER_FAMILIES = ("features", "fine_tuning")


def auto(trial: Trial, *, backbones: Sequence[Pretrained] = (), task: Task = Task()) -> Candidate:
    """Suggests a family, then its network and training; families share parameter names.

    Without backbones all families are trained from scratch.
    """
    families = [*FAMILIES, *(TRANSFER_FAMILIES if backbones else ())]
    family = trial.suggest_categorical("family", families)
    common: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 5e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 0.5, log=True),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
    }
    flip = trial.suggest_categorical("horizontal_flip", [False, True])
    pooling = trial.suggest_categorical("pooling", ["average", "max", "average_max"])
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    if family == "features":
        # Any other augmentation would run the backbone on every image in every epoch.
        common["augmentation"] = Augmentation(horizontal_flip=flip)
    else:
        common["augmentation"] = Augmentation(
            horizontal_flip=flip,
            crop_padding=pixels_at_32(trial.suggest_int("crop_padding", 0, 6), task),
            erasing=trial.suggest_float("erasing", 0.0, 0.3),
            mixup=trial.suggest_float("mixup", 0.0, 0.4),
            cutmix=trial.suggest_float("cutmix", 0.0, 1.0),
        )
    if family in FAMILIES:
        head = Pooled(pooling=pooling, dropout=dropout)
        model = _from_scratch(trial, family, head, task)
        return Candidate(model=model, training=reference_training(task, **common))
    # AdamW changes pretrained weights less than Muon.
    common["optimizer"] = "adamw"
    units = trial.suggest_int("dense_units", 0, 512, step=128)
    layers = (DenseLayer(units=units, dropout=dropout),) if units else ()
    model = ModelConfig(
        preprocessing="none",
        input_size=trial.suggest_int("input_size", 64, 224, step=32),
        backbone=suggest_backbone(
            trial,
            backbones,
            trainable="none"
            if family == "features"
            else trial.suggest_int("trainable_stages", 1, 5),
        ),
        head=Pooled(pooling=pooling, dropout=dropout, layers=layers),
    )
    if family == "fine_tuning":
        common["fine_tuning"] = FineTuning(
            head_share=trial.suggest_float("head_share", 0.1, 0.6),
            learning_rate=trial.suggest_float("fine_tuning_learning_rate", 3e-5, 3e-3, log=True),
        )
    return Candidate(model=model, training=reference_training(task, **common))


def _from_scratch(trial: Trial, family: str, head: Pooled, task: Task) -> ModelConfig:
    shared = {"activation": trial.suggest_categorical("activation", ["relu", "gelu", "silu"])}
    first = trial.suggest_int("filters", 16, 128, log=True)
    growth = trial.suggest_float("filters_growth", 1.0, 2.5)
    depth = trial.suggest_int("depth", 0, 3)
    stages: list[Stage] = []
    for filters in growing_filters(first, growth, reductions(task)):
        block = FAMILIES[family](filters=filters, **shared)
        if family == "residual":
            # Pooling right after the first convolution leaves the rest a quarter of the pixels.
            pooled = Plain(filters=filters, **shared)
            stages.append(Stage(block=pooled, reduction="max", place="first"))
            if depth:
                stages.append(Stage(block=block, depth=depth, reduction="none"))
        else:
            reduction: Reduction = "max" if family == "plain" else "stride"
            stages.append(Stage(block=block, depth=1 + depth, reduction=reduction, place="first"))
    stem = Plain(**shared)
    stem_filters = trial.suggest_int("stem_filters", 0, 32, step=8)
    if not stem_filters and family in ("inverted_residual", "convnext"):
        stem_filters = 16  # their first layers have as many channels as their input
    return ModelConfig(
        preprocessing="standardize",
        input_size=input_size(task),
        backbone=with_stem(Staged(stages=tuple(stages)), stem, filters=stem_filters, task=task),
        head=head,
    )
