"""Run it with

    python -m search.run --study auto --data cifar10

or, beside networks from scratch, with pretrained ones: `--backbone MobileNetV3Small`,
`--backbone my_network.keras`.

Expect: The best network that your images and the time given allow.
"""

import math
from collections.abc import Sequence
from typing import Any

from cnn_blocks.pretrained import Pretrained
from spaces.auto import auto
from spaces.reference import reference_batch_size, reference_learning_rate
from spaces.task import Task
from studies.study import StudySpec

# Multiply-accumulates on each image from which networks from scratch may come near pretrained ones.
_FROM_SCRATCH_BESIDE_PRETRAINED = 1e10


def start(task: Task, *, backbones: Sequence[Pretrained] = ()) -> list[dict[str, Any]]:
    """Returns the default network; with backbones, behind frozen features and fine-tuning."""
    common = {
        "learning_rate": reference_learning_rate(reference_batch_size(task)),
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
        "horizontal_flip": False,
    }
    augmented = {**common, "crop_padding": 4, "erasing": 0.0, "mixup": 0.0, "cutmix": 0.0}
    from_scratch = {
        "family": "plain",
        **augmented,
        "pooling": "max",
        "dropout": 0.0,
        "activation": "gelu",
        "filters": 64,
        "filters_growth": 2.0,
        "depth": 1,
        "stem_filters": 24,
    }
    if not backbones:
        return [from_scratch]
    pretrained = {"pooling": "average", "dropout": 0.2, "dense_units": 0, "input_size": 128}
    features = {"family": "features", **common, **pretrained}
    fine_tuning = {
        "family": "fine_tuning",
        **augmented,
        **pretrained,
        "trainable_stages": 3,
        "head_share": 0.2,
        "fine_tuning_learning_rate": 5e-4,
    }
    first = [features, fine_tuning]
    if (task.multiply_accumulates or math.inf) >= _FROM_SCRATCH_BESIDE_PRETRAINED:
        first.append(from_scratch)
    return first


def variations(task: Task, *, backbones: Sequence[Pretrained] = ()) -> list[dict[str, Any]]:
    """Returns the changes that most often help, those that need a long training last."""
    rate = reference_learning_rate(reference_batch_size(task))
    transfer: list[dict[str, Any]] = [
        {"horizontal_flip": True},
        {"pooling": "average_max"},
        {"trainable_stages": 5},
        {"input_size": 192},
        {"fine_tuning_learning_rate": 1.5e-3},
    ]
    if backbones:
        return transfer
    return [
        {"family": "residual"},
        {"filters": 40},
        {"pooling": "average"},
        {"dropout": 0.2},
        {"cutmix": 0.5},
        {"learning_rate": round(rate * 2, 5)},
        {"filters": 96},
        {"erasing": 0.2},
        {"weight_decay": 0.15},
        {"family": "convnext"},
        {"family": "inverted_residual"},
    ]


study = StudySpec(
    name="auto",
    description="Plain, residual, inverted residual and ConvNeXt-like networks; pretrained ones.",
    space=auto,
    fixes="AdamW under one-cycle, batches by the number of images, a stem by their size.",
    expected="The best network that your images and the time given allow.",
    trials=500,
    budget_seconds=1800,
    takes_backbones=True,
    start=start,
    variations=variations,
)
