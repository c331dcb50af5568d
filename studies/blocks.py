"""Run it with

    python -m search.run --study blocks --data cifar10

Expect: A block for each stage, after two hours or 60 trials of at most 6 epochs.
"""

from spaces.blocks import blocks
from studies.study import StudySpec

study = StudySpec(
    name="blocks",
    description="Block, depth and filters of each stage; reduction, stochastic depth, head.",
    space=blocks,
    fixes="AdamW under one-cycle, batches of 256, flips and crops; at most 4 million parameters.",
    expected="A block for each stage, after two hours or 60 trials of at most 6 epochs.",
    trials=60,
    budget_seconds=7200,
    epochs=6,
    retrain_epochs=40,
    most_parameters=4_000_000,
    start=(
        {
            "stages": 3,
            "kernel_size": 3,
            "activation": "gelu",
            "normalization": "batch",
            "initializer": "he_uniform",
            "reduction": "max",
            "filters_schedule": "doubling",
            "filters": 64,
            "dropout": 0.0,
            "dropout_schedule": "rising",
            "dropout_kind": "plain",
            "stochastic_depth": 0.0,
            "stem_filters": 24,
            "stage_1_block": "plain",
            "stage_1_depth": 2,
            "stage_2_block": "plain",
            "stage_2_depth": 2,
            "stage_3_block": "plain",
            "stage_3_depth": 2,
            "pooling": "max",
            "head_dropout": 0.0,
            "dense_layers": 0,
            "learning_rate": 0.004,
        },
    ),
)
