"""Run it with

    python -m search.run --study augmentation --data cifar10

Expect: The augmentation that suits your images and time budget; stronger ones need more.
"""

from spaces.shipped.augmentation import augmentation
from studies import StudySpec

study = StudySpec(
    name="augmentation",
    description="Flips, crops, rotation, zoom, colour, policies, erasing, MixUp, CutMix.",
    space=augmentation,
    fixes="The reference network (1.16 million parameters on 32x32 pixels), Muon with one-cycle.",
    expected="The augmentation that suits your images and time budget; stronger ones need more.",
    trials=40,
    budget_seconds=7200,
    start=(
        {
            "policy": "none",
            "horizontal_flip": False,
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
    variations=(
        {"erasing": 0.2},
        {"cutmix": 0.5},
        {"mixup": 0.2},
        {"rotation": 10.0},
        {"zoom": 0.1},
        {"contrast": 0.2, "brightness": 0.1},
        {"crop_padding": 0},
    ),
)
