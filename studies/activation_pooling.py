"""Run it with

    python -m search.run --study activation_pooling --data cifar10

Expect: The first trial: about 79% on validation images (4 epochs, CIFAR-10 JPEG).
"""

from spaces.activation_pooling import activation_pooling
from studies.study import StudySpec

study = StudySpec(
    name="activation_pooling",
    description="Activation; GAP, GMP or Flatten; max, average or strided reduction; dense layer.",
    space=activation_pooling,
    fixes="The reference network's filters and depth; SGD under one-cycle, flips and crops.",
    expected="The first trial: about 79% on validation images (4 epochs, CIFAR-10 JPEG).",
    trials=30,
    budget_seconds=2400,
    epochs=4,
    retrain_epochs=40,
    start=(
        {
            "activation": "gelu",
            "dense_units": 0,
            "pooling": "max",
            "reduction": "max",
            "normalization_order": "before",
        },
    ),
)
