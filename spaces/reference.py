"""What studies hold fixed when they search something else: a network, and its training."""

import math
from typing import Any, Literal

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig, Reduction
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import TrainingConfig
from spaces.sizes import input_size, pixels_at_32, reductions, with_stem
from spaces.stages import growing_filters, scheduled_dropout, staged
from spaces.task import Task

# Of batches of 64. A larger batch's gradient is less noisy, and allows a larger step.
_LEARNING_RATE, _BATCH_SIZE = 0.01, 64
_SMALLEST_BATCH, _LARGEST_BATCH = 8, 256
_LEAST_SEARCHED_BATCH = 32


def reference_model(
    *,
    task: Task = Task(),
    head: Pooled | None = None,
    dropout: float = 0.0,
    dropout_schedule: Literal["constant", "rising"] = "rising",
    reduction: Reduction = "max",
    **block_fields: Any,
) -> ModelConfig:
    """Returns a plain network of 24 | 64 64 | 128 128 | 256 256 filters: 1.16 million parameters.

    Each stage pools right behind its first convolution, which makes it fast on a CPU. Small images
    get two stages, large ones a stem that reduces them. `block_fields` replace those of its
    `Plain` blocks.
    """
    block = Plain(**{"activation": "relu", **block_fields})
    stages = reductions(task)
    backbone = staged(
        block,
        filters=growing_filters(64, 2.0, stages),
        depth=2,
        reduction=reduction,
        place="first",
        dropout=scheduled_dropout(dropout, dropout_schedule, stages),
    )
    return ModelConfig(
        input_size=input_size(task),
        backbone=with_stem(backbone, block, filters=24, task=task),
        head=head or Pooled(pooling="max"),
    )


def reference_training(task: Task = Task(), **changes: Any) -> TrainingConfig:
    """Returns settings with which networks of any size learn on any number of images.

    Muon under one-cycle with clipped gradients, label smoothing 0.1 and padded crops. Batch size
    and learning rate follow from the number of images. There are no flips: mirrored digits,
    letters and signs mean something else. `changes` replace settings.
    """
    batch_size = reference_batch_size(task)
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "optimizer": "muon",
        "learning_rate": reference_learning_rate(changes.get("batch_size", batch_size)),
        "weight_decay": 0.05,
        "clip_norm": 1.0,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "label_smoothing": 0.1,
        "augmentation": Augmentation(crop_padding=pixels_at_32(4, task)),
    }
    return TrainingConfig(**(settings | changes))


def reference_batch_size(task: Task) -> int:
    """Returns the power of two nearest to the root of the number of images, from 8 to 256.

    Few images get many steps an epoch: 32 for a thousand images, 64 for 5,000, 256 for 50,000.
    """
    power: int = 2 ** round(math.log2(math.sqrt(task.images)))
    return min(_LARGEST_BATCH, max(_SMALLEST_BATCH, power))


def most_images_a_batch(task: Task, *, at_most: int = 512) -> int:
    """Returns the end of a range of batch sizes from 16: a tenth of the images, within limits."""
    return max(_LEAST_SEARCHED_BATCH, min(at_most, task.images // 10))


def reference_learning_rate(batch_size: int) -> float:
    """Returns Muon's peak rate for a batch size, in proportion to the root of it."""
    return round(_LEARNING_RATE * math.sqrt(batch_size / _BATCH_SIZE), 5)
