"""What studies hold fixed when they search something else: a network, and its training."""

from typing import Any, Literal

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig, Reduction
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import TrainingConfig
from spaces.stages import scheduled_dropout, staged


def reference_model(
    *,
    head: Pooled | None = None,
    dropout: float = 0.0,
    dropout_schedule: Literal["constant", "rising"] = "rising",
    reduction: Reduction = "max",
    **block_fields: Any,
) -> ModelConfig:
    """Returns a plain network of 24 | 64 64 | 128 128 | 256 256 filters: 1.16 million parameters.

    Each stage pools right behind its first convolution, which makes it fast on a CPU.
    `block_fields` replace those of its `Plain` blocks.
    """
    block = Plain(**{"activation": "gelu", **block_fields})
    backbone = staged(
        block,
        filters=[64, 128, 256],
        depth=2,
        reduction=reduction,
        place="first",
        dropout=scheduled_dropout(dropout, dropout_schedule, 3),
        stem_filters=24,
    )
    return ModelConfig(backbone=backbone, head=head or Pooled(pooling="max"))


def reference_training(**changes: Any) -> TrainingConfig:
    """Returns settings that suit small CNNs on small images, with some of them changed.

    SGD with Nesterov momentum under one-cycle, flips and padded crops, label smoothing 0.1.
    """
    settings: dict[str, Any] = {
        "batch_size": 256,
        "optimizer": "sgd",
        "learning_rate": 0.2,
        "weight_decay": 5e-4,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "label_smoothing": 0.1,
        "augmentation": Augmentation(horizontal_flip=True, crop_padding=4),
    }
    return TrainingConfig(**(settings | changes))
