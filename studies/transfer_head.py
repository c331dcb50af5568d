"""Run it with

    python -m search.run --study transfer_head --data cifar10

or with a network of your own choice: `--backbone EfficientNetV2B0`, `--backbone my_network.keras`.
The default's ImageNet weights (MobileNetV3Small, 4 MB) are downloaded once by Keras.

Expect: The best head on a frozen backbone, far above the same head on random weights
(`--backbone MobileNetV3Small=none`).
"""

from spaces.backbones import DEFAULT_BACKBONES
from spaces.transfer_head import transfer_head
from studies.study import StudySpec

study = StudySpec(
    name="transfer_head",
    description="Input size, pooling, dense layers and their training on a frozen backbone.",
    space=transfer_head,
    fixes="AdamW under cosine; the pretrained backbone does not train; no augmentation.",
    expected="The best head on a frozen backbone, far above the same head on random weights "
    "(`--backbone MobileNetV3Small=none`).",
    trials=50,
    epochs=10,
    retrain_epochs=20,
    reports_per_epoch=1,
    first_rung=2,
    backbones=DEFAULT_BACKBONES,
    start=(
        {
            "input_size": 96,
            "pooling": "average",
            "head_dropout": 0.2,
            "dense_layers": 0,
            "batch_size": 128,
            "learning_rate": 2e-3,
            "weight_decay": 0.01,
            "label_smoothing": 0.1,
        },
    ),
)
