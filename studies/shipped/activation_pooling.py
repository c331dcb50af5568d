"""Run it with

    python -m search.run --study activation_pooling --data cifar10

Expect: Which activation, reduction and head suit your images.
"""

from spaces.shipped.activation_pooling import activation_pooling
from studies import StudySpec

study = StudySpec(
    name="activation_pooling",
    description="Activation; GAP, GMP or Flatten; max, average or strided reduction; dense layer; "
    "flips.",
    space=activation_pooling,
    fixes="The reference network's filters and depth; Muon with one-cycle, padded crops.",
    expected="Which activation, reduction and head suit your images.",
    trials=30,
    budget_seconds=2400,
    start=(
        {
            "activation": "relu",
            "dense_units": 0,
            "pooling": "max",
            "reduction": "max",
            "normalization_order": "before",
            "horizontal_flip": False,
        },
    ),
    variations=(
        {"pooling": "average"},
        {"pooling": "average_max"},
        {"activation": "silu"},
        {"activation": "gelu"},
        {"reduction": "stride"},
        {"normalization_order": "after"},
    ),
)
