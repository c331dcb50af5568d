"""Run it with

    python -m search.run --study blocks --data cifar10

Expect: A block, a depth and filters for each stage.
"""

from typing import Any

from spaces.shipped.blocks import blocks
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
    stages = reductions(task)
    per_stage: dict[str, Any] = {}
    for number in range(1, stages + 1):
        per_stage |= {f"stage_{number}_block": "plain", f"stage_{number}_depth": 2}
    return [
        {
            "stages": stages,
            "kernel_size": 3,
            "activation": "relu",
            "normalization": "batch",
            "initializer": "he_uniform",
            "reduction": "max",
            "filters_schedule": "doubling",
            "filters": reference_width(task)["filters"],
            "dropout": 0.0,
            "dropout_schedule": "rising",
            "dropout_kind": "plain",
            "stochastic_depth": 0.0,
            # This space always has a stem.
            "stem_filters": max(16, reference_width(task)["stem_filters"]),
            **per_stage,
            "pooling": "max",
            "head_dropout": 0.0,
            "dense_layers": 0,
            "learning_rate": reference_learning_rate(reference_batch_size(task)),
            "horizontal_flip": False,
        }
    ]


def variations(task: Task) -> list[dict[str, Any]]:
    """Returns changes of the last stages' blocks, then of sizes, pooling and activation."""
    last = reductions(task)
    return [
        {f"stage_{last}_block": "residual"},
        {f"stage_{last - 1}_block": "residual", f"stage_{last}_depth": 1},
        {"filters": 40},
        {"pooling": "average"},
        {"activation": "silu"},
    ]


study = StudySpec(
    name="blocks",
    description="Block, depth and filters of each stage; reduction, stochastic depth, head, flips.",
    space=blocks,
    fixes="Muon with one-cycle, padded crops; at most 4 million parameters.",
    expected="A block, a depth and filters for each stage.",
    trials=60,
    budget_seconds=7200,
    most_parameters=4_000_000,
    start=start,
    variations=variations,
)
