"""Run it with

    python -m search.run --study fine_tune --data cifar10

or with a network of your own choice: `--backbone EfficientNetV2B0`, `--backbone my_network.keras`.
The default's ImageNet weights (MobileNetV3Small, 4 MB) are downloaded once by Keras.

Expect: More than the same backbone gives frozen (`transfer_head`), at several times its cost.
"""

from spaces.backbones import DEFAULT_BACKBONES
from spaces.fine_tune import fine_tune
from studies.study import StudySpec

study = StudySpec(
    name="fine_tune",
    description="Pretrained backbone, input size, trainable depth, head, both phases' settings.",
    space=fine_tune,
    fixes="AdamW under cosine; the head first, then the last stages of the backbone as well.",
    expected="More than the same backbone gives frozen (`transfer_head`), at several times its "
    "cost.",
    trials=20,
    epochs=6,
    retrain_epochs=20,
    reports_per_epoch=1,
    first_rung=3,
    backbones=DEFAULT_BACKBONES,
    start=(
        {
            "trainable_stages": 2,
            "input_size": 96,
            "pooling": "average",
            "head_dropout": 0.2,
            "dense_layers": 0,
            "batch_size": 64,
            "learning_rate": 2e-3,
            "weight_decay": 0.01,
            "label_smoothing": 0.1,
            "horizontal_flip": True,
            "crop_padding": 4,
            "erasing": 0.0,
            "head_share": 0.3,
            "fine_tuning_learning_rate": 3e-4,
        },
    ),
)
