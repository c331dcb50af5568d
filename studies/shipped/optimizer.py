"""Run it with

    python -m search.run --study optimizer --data cifar10

Expect: An optimizer, its rate and a batch size for your images and time budget.
"""

from typing import Any

from spaces.shipped.optimizer import optimizer
from studies import StudySpec, Task, reference_batch_size, reference_learning_rate


def start(task: Task) -> list[dict[str, Any]]:
    """Returns the reference training, and trainings with AdamW and SGD, as parameters."""
    batch_size = max(16, reference_batch_size(task))
    common = {
        "batch_size": batch_size,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "label_smoothing": 0.1,
        "horizontal_flip": False,
    }
    return [
        {
            "optimizer": "muon",
            "muon_learning_rate": reference_learning_rate(batch_size),
            "muon_weight_decay": 0.05,
            **common,
        },
        {
            "optimizer": "adamw",
            "adam_learning_rate": 0.003,
            "adamw_weight_decay": 0.05,
            **common,
        },
        {
            "optimizer": "sgd",
            "sgd_learning_rate": 0.05,
            "sgd_momentum": 0.9,
            "sgd_weight_decay": 5e-4,
            **common,
        },
    ]


study = StudySpec(
    name="optimizer",
    description="Optimizer, learning rate, schedule, warm-up, batch size, decay, label smoothing, "
    "flips.",
    space=optimizer,
    fixes="The reference network, padded crops, clipped gradients.",
    expected="An optimizer, its rate and a batch size for your images and time budget.",
    trials=40,
    budget_seconds=2400,
    start=start,
    variations=({"schedule": "cosine"},),
)
