"""Run it with

    python -m search.run --study augmentation --data cifar10

Expect: Flips and crops lead after 10 epochs; stronger policies pay in the winner's 60.
"""

from spaces.augmentation import augmentation
from studies.study import StudySpec

study = StudySpec(
    name="augmentation",
    description="Flips, crops, turns, zoom, colour, policies, erasing, MixUp, CutMix: strengths.",
    space=augmentation,
    fixes="The reference network (1.16 million parameters), SGD under one-cycle.",
    expected="Flips and crops lead after 10 epochs; stronger policies pay in the winner's 60.",
    trials=40,
    budget_seconds=7200,
    epochs=10,
    retrain_epochs=60,
    first_rung=2,
    start=(
        {
            "policy": "none",
            "horizontal_flip": True,
            "crop_padding": 4,
            "translation": 0.0,
            "rotation": 0.0,
            "zoom": 0.0,
            "contrast": 0.0,
            "brightness": 0.0,
            "erasing": 0.0,
            "mixup": 0.0,
            "cutmix": 0.0,
        },
    ),
)
