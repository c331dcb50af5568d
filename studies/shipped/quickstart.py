"""Run it with

    python -m search.run --study quickstart

Expect: A network for the digits that come with scikit-learn, in a minute.
"""

from spaces.shipped.quickstart import quickstart
from studies import StudySpec

study = StudySpec(
    name="quickstart",
    description="Stages, filters, activation, pooling, dropout and learning rate of tiny networks.",
    space=quickstart,
    fixes="Muon with one-cycle, padded crops, label smoothing 0.1.",
    expected="A network for the digits that come with scikit-learn, in a minute.",
    data="digits",
    trials=10,
    budget_seconds=60,
    start=(
        {
            "stages": 2,
            "activation": "relu",
            "filters": 32,
            "dropout": 0.0,
            "pooling": "flatten",
            "learning_rate": 0.01,
            "horizontal_flip": False,
        },
    ),
    variations=({"dropout": 0.1}, {"stages": 3}, {"learning_rate": 0.02}),
    # The search ends before a worker process would have started.
    workers=0,
)
