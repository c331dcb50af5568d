"""Run it with

    python -m search.run --study dropout_l2 --data cifar10

Expect: The first trial: about 84% on validation images (8 epochs, CIFAR-10 JPEG). Short trials
overfit little, so that the winner may regularise less than a long training wants.
"""

from spaces.dropout_l2 import dropout_l2
from studies.study import StudySpec

study = StudySpec(
    name="dropout_l2",
    description="Dropout and its schedule, L2, weight decay, label smoothing.",
    space=dropout_l2,
    fixes="The reference network (1.16 million parameters), SGD under one-cycle, flips and crops.",
    expected="The first trial: about 84% on validation images (8 epochs, CIFAR-10 JPEG).",
    trials=30,
    budget_seconds=3600,
    epochs=8,
    retrain_epochs=40,
    start=(
        {
            "dropout": 0.0,
            "dropout_schedule": "rising",
            "l2": 1e-7,
            "head_dropout": 0.0,
            "weight_decay": 5e-4,
            "label_smoothing": 0.1,
        },
    ),
)
