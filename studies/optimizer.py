"""Run it with

    python -m search.run --study optimizer --data cifar10

Expect: The first trial: about 79% on validation images (4 epochs, CIFAR-10 JPEG).
"""

from spaces.optimizer import optimizer
from studies.study import StudySpec

study = StudySpec(
    name="optimizer",
    description="Optimizer, learning rate, schedule, warm-up, batch size, decay, label smoothing.",
    space=optimizer,
    fixes="The reference network (1.16 million parameters), flips and padded crops.",
    expected="The first trial: about 79% on validation images (4 epochs, CIFAR-10 JPEG).",
    trials=40,
    budget_seconds=2400,
    epochs=4,
    retrain_epochs=40,
    start=(
        {
            "optimizer": "sgd",
            "batch_size": 256,
            "schedule": "one_cycle",
            "warmup": 0.2,
            "label_smoothing": 0.1,
            "sgd_learning_rate": 0.2,
            "sgd_momentum": 0.9,
            "sgd_weight_decay": 5e-4,
        },
    ),
)
