"""Run it with

    python -m search.run --study full_cnn --data cifar10

Expect: A network and its training together. This space needs a GPU, or a night.
"""

from typing import Any

from spaces.shipped.full_cnn import full_cnn
from studies import StudySpec, Task, reference_batch_size
from studies.shipped import depth_filters


def start(task: Task) -> list[dict[str, Any]]:
    """Returns the reference network and its training as parameters of this space."""
    changes = {
        "weight_decay": 0.05,
        "batch_size": max(16, reference_batch_size(task)),
        "warmup": 0.2,
        "label_smoothing": 0.1,
        "crop_padding": 4,
        "erasing": 0.0,
        "cutmix": 0.0,
    }
    return [parameters | changes for parameters in depth_filters.start(task)]


study = StudySpec(
    name="full_cnn",
    description="Architecture, regularisation, learning rate, batch size, augmentation together.",
    space=full_cnn,
    fixes="Muon with one-cycle and clipped gradients.",
    expected="A network and its training together.",
    trials=100,
    budget_seconds=14400,
    start=start,
    variations=(
        {"cutmix": 0.5},
        {"filters": 40},
        {"erasing": 0.2},
        {"pooling": "average"},
        {"weight_decay": 0.15},
        {"filters": 88},
    ),
)
