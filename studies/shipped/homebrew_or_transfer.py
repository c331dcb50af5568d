"""Run it with

    python -m search.run --study homebrew_or_transfer --data cifar10

To use another backbone, add `--backbone EfficientNetV2B0` or `--backbone my_network.keras`. Keras
downloads the ImageNet weights of the default (MobileNetV3Small, 4 MB) once.

Expect: Which family suits your images: few images favour the pretrained network, many small images
a custom one.
"""

from typing import Any

from spaces.shipped.homebrew_or_transfer import homebrew_or_transfer
from studies import DEFAULT_BACKBONES, StudySpec, Task
from studies.shipped import depth_filters, fine_tune


def start(task: Task) -> list[dict[str, Any]]:
    """Returns the first trials of both families' studies."""
    families = {"homebrew": depth_filters.start(task), "transfer": fine_tune.start(task)}
    return [
        {"family": family} | {f"{family}_{name}": value for name, value in parameters.items()}
        for family, trials in families.items()
        for parameters in trials
    ]


study = StudySpec(
    name="homebrew_or_transfer",
    description="A custom network as in depth_filters, or a pretrained one as in fine_tune.",
    space=homebrew_or_transfer,
    fixes="What depth_filters and fine_tune keep fixed.",
    expected="Which family suits your images: few images favour the pretrained network, many small "
    "images a custom one.",
    trials=40,
    backbones=DEFAULT_BACKBONES,
    start=start,
    variations=({"homebrew_horizontal_flip": True, "transfer_horizontal_flip": True},),
)
