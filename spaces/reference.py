"""The reference network and training that studies fix while they search something else."""

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

# The rate for batches of 64. Larger batches have less noisy gradients and allow larger steps.
_LEARNING_RATE, _BATCH_SIZE = 0.01, 64
_SMALLEST_BATCH, _LARGEST_BATCH = 8, 256
_LEAST_SEARCHED_BATCH = 32
# Multiply-accumulates of the reference network for a 32x32 image; larger images are downsampled.
_COST_AT_32 = 81e6
# With fewer passes, a narrow network is better because it sees more images in the same time.
_SHORT_TRAINING = 6


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

    Each stage pools right after its first convolution, which makes it fast on a CPU. Small images
    get two stages; large images get a stem that downsamples them. If the task leaves time for few
    passes, the network is narrower (`reference_width`). `block_fields` replace fields of its
    `Plain` blocks.
    """
    block = Plain(**{"activation": "relu", **block_fields})
    stages, width = reductions(task), reference_width(task)
    backbone = staged(
        block,
        filters=growing_filters(width["filters"], 2.0, stages),
        depth=2,
        reduction=reduction,
        place="first",
        dropout=scheduled_dropout(dropout, dropout_schedule, stages),
    )
    return ModelConfig(
        input_size=input_size(task),
        backbone=with_stem(backbone, block, filters=width["stem_filters"], task=task),
        head=head or Pooled(pooling="max"),
    )


def reference_width(task: Task) -> dict[str, int]:
    """Returns the `filters` of the first stage and the `stem_filters` that suit the time.

    The stem makes steps 25% slower, which pays off unless training is very short.
    """
    if reference_passes(task) < _SHORT_TRAINING:
        return {"filters": 32, "stem_filters": 0}
    return {"filters": 64, "stem_filters": 24}


def reference_passes(task: Task) -> float:
    """Returns how many passes over the images the reference network can afford."""
    if task.multiply_accumulates is None:
        return math.inf
    pixels = task.image_shape[0] * task.image_shape[1]
    return task.multiply_accumulates / (_COST_AT_32 * min(1.0, pixels / 32**2))


def reference_training(task: Task = Task(), **changes: Any) -> TrainingConfig:
    """Returns training settings that work for networks of any size and any number of images.

    They are Muon with a one-cycle schedule, clipped gradients, label smoothing 0.1, padded crops
    and whitening filters in the first convolution. The number of images determines the batch size
    and the learning rate. There are no flips, because mirrored digits, letters and signs differ in
    meaning. `changes` replace settings.
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
        "whitening": True,
        "augmentation": Augmentation(crop_padding=pixels_at_32(4, task)),
    }
    return TrainingConfig(**(settings | changes))


def reference_batch_size(task: Task) -> int:
    """Returns the power of two nearest to the square root of the number of images, from 8 to 256.

    That is 32 for 1,000 images, 64 for 5,000 and 256 for 50,000. Small batches give small data sets
    enough steps per epoch.
    """
    power: int = 2 ** round(math.log2(math.sqrt(task.images)))
    return min(_LARGEST_BATCH, max(_SMALLEST_BATCH, power))


def most_images_a_batch(task: Task, *, at_most: int = 512) -> int:
    """Returns the upper end of a batch-size range from 16: a tenth of the images, within limits."""
    return max(_LEAST_SEARCHED_BATCH, min(at_most, task.images // 10))


def reference_learning_rate(batch_size: int) -> float:
    """Returns Muon's peak rate, proportional to the square root of the batch size."""
    return round(_LEARNING_RATE * math.sqrt(batch_size / _BATCH_SIZE), 5)
