"""Run it with

    python -m search.run --study transfer_head --data cifar10

To use another backbone, add `--backbone EfficientNetV2B0` or `--backbone my_network.keras`. Keras
downloads the ImageNet weights of the default (MobileNetV3Small, 4 MB) once.

Expect: The best head on a frozen backbone, far above the same head on random weights (`--backbone
MobileNetV3Small=none`).
"""

from typing import Any

from spaces.shipped.transfer_head import transfer_head
from studies import DEFAULT_BACKBONES, StudySpec, Task, most_images_a_batch


def start(task: Task) -> list[dict[str, Any]]:
    """Returns a linear classifier on averaged features."""
    return [
        {
            "input_size": 96,
            "pooling": "average",
            "head_dropout": 0.2,
            "dense_layers": 0,
            "batch_size": most_images_a_batch(task, at_most=128),
            "learning_rate": 2e-3,
            "weight_decay": 0.01,
            "label_smoothing": 0.1,
        }
    ]


study = StudySpec(
    name="transfer_head",
    description="Input size, pooling, dense layers and their training on a frozen backbone.",
    space=transfer_head,
    fixes="AdamW with cosine decay; the pretrained backbone stays frozen; no augmentation.",
    expected="The best head on a frozen backbone, far above the same head on random weights "
    "(`--backbone MobileNetV3Small=none`).",
    trials=50,
    backbones=DEFAULT_BACKBONES,
    start=start,
    variations=(
        {"input_size": 128},
        {"pooling": "average_max"},
        {"learning_rate": 5e-3},
        {"input_size": 192},
    ),
)
