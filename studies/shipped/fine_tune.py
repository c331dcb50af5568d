"""Run it with

    python -m search.run --study fine_tune --data cifar10

To use another backbone, add `--backbone EfficientNetV2B0` or `--backbone my_network.keras`. Keras
downloads the ImageNet weights of the default (MobileNetV3Small, 4 MB) once.

Expect: A better result than the same backbone frozen (`transfer_head`), at several times its cost.
"""

from typing import Any

from spaces.shipped.fine_tune import fine_tune
from studies import DEFAULT_BACKBONES, StudySpec, Task, most_images_a_batch


def start(task: Task) -> list[dict[str, Any]]:
    """Returns the training of a linear head, then of the backbone's last two stages as well."""
    return [
        {
            "trainable_stages": 2,
            "input_size": 96,
            "pooling": "average",
            "head_dropout": 0.2,
            "dense_layers": 0,
            "batch_size": most_images_a_batch(task, at_most=64),
            "learning_rate": 2e-3,
            "weight_decay": 0.01,
            "label_smoothing": 0.1,
            "horizontal_flip": False,
            "crop_padding": 4,
            "erasing": 0.0,
            "head_share": 0.3,
            "fine_tuning_learning_rate": 3e-4,
        }
    ]


study = StudySpec(
    name="fine_tune",
    description="Pretrained backbone, input size, trainable depth, head, both phases' settings.",
    space=fine_tune,
    fixes="AdamW with cosine decay; first the head, then the backbone's last stages as well.",
    expected="A better result than the same backbone frozen (`transfer_head`), at several times "
    "its cost.",
    trials=20,
    backbones=DEFAULT_BACKBONES,
    start=start,
    variations=(
        {"trainable_stages": 4},
        {"input_size": 128},
        {"fine_tuning_learning_rate": 1e-3},
    ),
)
