"""Run it with

    python -m search.run --study homebrew_or_transfer --data cifar10

or with a network of your own choice: `--backbone EfficientNetV2B0`, `--backbone my_network.keras`.
The default's ImageNet weights (MobileNetV3Small, 4 MB) are downloaded once by Keras.

Expect: Which family suits your images: few images favour the pretrained one, many small ones a
network of their own.
"""

from spaces.backbones import DEFAULT_BACKBONES
from spaces.homebrew_or_transfer import homebrew_or_transfer
from studies.study import StudySpec

study = StudySpec(
    name="homebrew_or_transfer",
    description="A network of one's own as in depth_filters, or a pretrained one as in fine_tune.",
    space=homebrew_or_transfer,
    fixes="What depth_filters and fine_tune hold fixed.",
    expected="Which family suits your images: few images favour the pretrained one, many small "
    "ones a network of their own.",
    trials=40,
    epochs=6,
    retrain_epochs=30,
    reports_per_epoch=1,
    first_rung=3,
    backbones=DEFAULT_BACKBONES,
    start=(
        {
            "family": "homebrew",
            "homebrew_stages": 3,
            "homebrew_filters": 64,
            "homebrew_filters_growth": 2.0,
            "homebrew_dropout": 0.0,
            "homebrew_dropout_schedule": "rising",
            "homebrew_kernel_size": 3,
            "homebrew_activation": "gelu",
            "homebrew_normalization": "batch",
            "homebrew_normalization_order": "before",
            "homebrew_l2": 1e-7,
            "homebrew_convolutions": 2,
            "homebrew_reduction": "max",
            "homebrew_stem_filters": 24,
            "homebrew_dense_layers": 0,
            "homebrew_pooling": "max",
        },
        {
            "family": "transfer",
            "transfer_trainable_stages": 2,
            "transfer_input_size": 96,
            "transfer_pooling": "average",
            "transfer_head_dropout": 0.2,
            "transfer_dense_layers": 0,
            "transfer_batch_size": 64,
            "transfer_learning_rate": 2e-3,
            "transfer_weight_decay": 0.01,
            "transfer_label_smoothing": 0.1,
            "transfer_horizontal_flip": True,
            "transfer_crop_padding": 4,
            "transfer_erasing": 0.0,
            "transfer_head_share": 0.3,
            "transfer_fine_tuning_learning_rate": 3e-4,
        },
    ),
)
