"""Run it with

    python -m search.run --study auto --data cifar10

To search pretrained networks as well, add `--backbone MobileNetV3Small` or
`--backbone my_network.keras`.

Expect: The best network for your images and time budget.
"""

import math
from collections.abc import Sequence
from typing import Any

from cnn_blocks import Pretrained
from spaces.shipped.auto import auto
from studies import (
    StudySpec,
    Task,
    reference_batch_size,
    reference_learning_rate,
    reference_passes,
    reference_width,
)

# With this many multiply-accumulates per image, networks from scratch may rival pretrained ones.
_FROM_SCRATCH_BESIDE_PRETRAINED = 1e10
# From this many passes on, a network of this size overfits a few thousand images.
_LONG_TRAINING = 15


def start(task: Task, *, backbones: Sequence[Pretrained] = ()) -> list[dict[str, Any]]:
    """Returns the default network; with backbones, frozen features and fine-tuning come first."""
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
        "activation": "relu",
        **reference_width(task),
        "filters_growth": 2.0,
        "depth": 1,
    }
    if not backbones:
        return [from_scratch]
    pretrained = {
        "pooling": "average",
        "dropout": 0.2,
        "dense_units": 0,
        "input_size": 128,
        "learning_rate": 0.003,
    }
    features = {**common, "family": "features", **pretrained}
    fine_tuning = {
        **augmented,
        "family": "fine_tuning",
        **pretrained,
        "trainable_stages": 3,
        "head_share": 0.2,
        "fine_tuning_learning_rate": 5e-4,
    }
    first: list[dict[str, Any]] = [features, fine_tuning]
    if (task.multiply_accumulates or math.inf) >= _FROM_SCRATCH_BESIDE_PRETRAINED:
        first.append(from_scratch)
    return first


def variations(task: Task, *, backbones: Sequence[Pretrained] = ()) -> list[dict[str, Any]]:
    """Returns changes, those that help most often first and those for long trainings last.

    With backbones, they change the pretrained networks, which are best on few images.
    """
    if backbones:
        # All settings of fine-tuning are given, because the best so far may use frozen features.
        fine_tuning = start(task, backbones=backbones)[1]
        del fine_tuning["horizontal_flip"]
        return [
            {"pooling": "average_max"},
            {"input_size": 192},
            {**fine_tuning, "trainable_stages": 5},
            {**fine_tuning, "fine_tuning_learning_rate": 1.5e-3},
            {"dense_units": 256},
        ]
    rate = reference_learning_rate(reference_batch_size(task))
    changes: list[dict[str, Any]] = [
        {"family": "residual"},
        {"learning_rate": round(0.6 * rate, 5)},
    ]
    if reference_passes(task) >= _LONG_TRAINING:
        changes += [{"cutmix": 0.5}, {"dropout": 0.2}, {"filters": 96}, {"erasing": 0.2}]
    else:
        narrower = reference_width(task)["filters"] // 2
        changes += [{"filters": narrower}, {"label_smoothing": 0.0}, {"activation": "silu"}]
    return [
        *changes,
        {"pooling": "average_max"},
        {"weight_decay": 0.15},
        {"depth": 2},
        {"family": "convnext"},
        {"family": "inverted_residual"},
    ]


study = StudySpec(
    name="auto",
    description="Plain, residual, inverted residual and ConvNeXt-like networks; pretrained ones.",
    space=auto,
    fixes="Muon with one-cycle; batch size by the number of images, stem by their size.",
    expected="The best network for your images and time budget.",
    trials=500,
    budget_seconds=1800,
    takes_backbones=True,
    start=start,
    variations=variations,
)
