"""Run it with

    python -m search.run --study dropout_l2 --data cifar10

Expect: How strongly to regularise for your images and time budget. Short trials overfit little, so
the winner may regularise less than a long training needs.
"""

from spaces.shipped.dropout_l2 import dropout_l2
from studies import StudySpec

study = StudySpec(
    name="dropout_l2",
    description="Dropout and its schedule, L2, weight decay, label smoothing, flips.",
    space=dropout_l2,
    fixes="The reference network, Muon with one-cycle, padded crops.",
    expected="How strongly to regularise for your images and time budget.",
    trials=30,
    budget_seconds=3600,
    start=(
        {
            "dropout": 0.0,
            "dropout_schedule": "rising",
            "l2": 1e-7,
            "head_dropout": 0.0,
            "weight_decay": 0.05,
            "label_smoothing": 0.1,
            "horizontal_flip": False,
        },
    ),
    variations=(
        {"head_dropout": 0.2},
        {"dropout": 0.1},
        {"weight_decay": 0.15},
        {"label_smoothing": 0.0},
    ),
)
