"""Run it with

    python -m search.run --study depth_filters --data cifar10

Expect: A plain network that suits your images and time budget.
"""

from typing import Any

from spaces.shipped.depth_filters import depth_filters
from studies import (
    StudySpec,
    Task,
    reductions,
    reference_batch_size,
    reference_learning_rate,
    reference_width,
)


def start(task: Task) -> list[dict[str, Any]]:
    """Returns the reference network as parameters of this space."""
    return [
        {
            "learning_rate": reference_learning_rate(reference_batch_size(task)),
            "horizontal_flip": False,
            "stages": reductions(task),
            **reference_width(task),
            "filters_growth": 2.0,
            "dropout": 0.0,
            "dropout_schedule": "rising",
            "kernel_size": 3,
            "activation": "relu",
            "normalization": "batch",
            "normalization_order": "before",
            "l2": 1e-7,
            "convolutions": 2,
            "reduction": "max",
            "dense_layers": 0,
            "pooling": "max",
        }
    ]


study = StudySpec(
    name="depth_filters",
    description="Depth, filters, kernels, activation, normalisation, pooling, dropout, L2, head, "
    "rate.",
    space=depth_filters,
    fixes="Muon with one-cycle, batch size by the number of images, padded crops, label "
    "smoothing 0.1.",
    expected="A plain network that suits your images and time budget.",
    trials=40,
    budget_seconds=2400,
    start=start,
    variations=(
        {"filters": 40},
        {"dropout": 0.1},
        {"pooling": "average"},
        {"activation": "silu"},
        {"convolutions": 3},
        {"filters": 88},
    ),
)
