"""Run it with

    python -m search.run --study depth_filters --data cifar10

Expect: 87.8% test accuracy on CIFAR-10 (JPEG) after an hour on 2 CPU cores. The options were
--budget 25m --retrain-budget 38m --seed 0; more time gives more.
"""

from spaces.depth_filters import depth_filters
from studies.study import StudySpec

study = StudySpec(
    name="depth_filters",
    description="Depth, filters, kernels, activation, normalisation, pooling, dropout, L2, head.",
    space=depth_filters,
    fixes="SGD under one-cycle, batches of 256, flips and crops padded by 4, label smoothing 0.1.",
    expected="87.8% test accuracy on CIFAR-10 (JPEG) after an hour on 2 CPU cores.",
    trials=40,
    budget_seconds=2400,
    epochs=4,
    retrain_epochs=40,
    start=(
        {
            "stages": 3,
            "filters": 64,
            "filters_growth": 2.0,
            "dropout": 0.0,
            "dropout_schedule": "rising",
            "kernel_size": 3,
            "activation": "gelu",
            "normalization": "batch",
            "normalization_order": "before",
            "l2": 1e-7,
            "convolutions": 2,
            "reduction": "max",
            "stem_filters": 24,
            "dense_layers": 0,
            "pooling": "max",
        },
    ),
)
