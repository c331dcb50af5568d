"""The two networks of the third report: a custom CNN and a large frozen backbone."""

from typing import Any

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.staged import Staged
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from spaces.candidate import Candidate
from spaces.recipes.recipe import Recipe, adam, convolutions, dense, pretrained

SOURCE = "bicocca, published report 003_753b23262839900e.txt"

_MISH: dict[str, Any] = {
    "activation": "mish",
    "initializer": "he_uniform",
    "normalization": "batch",
    "l2": 0.001,
}

RECIPES = (
    Recipe(
        name="bicocca_cnn",
        source=SOURCE,
        description=(
            "Mish, he_uniform, same padding, L2 0.001 on convolutions: C32 BN C32 BN P Do.2, "
            "C64 BN C64 BN P Do.3, C128 BN P Do.4, Flatten, D128 BN Do.5"
        ),
        candidate=Candidate(
            model=ModelConfig(
                preprocessing="standardize",
                backbone=Staged(
                    stages=(
                        convolutions(32, depth=2, dropout=0.2, **_MISH),
                        convolutions(64, depth=2, dropout=0.3, **_MISH),
                        convolutions(128, dropout=0.4, **_MISH),
                    )
                ),
                head=Pooled(
                    pooling="flatten",
                    layers=(
                        DenseLayer(
                            units=128, activation="mish", batch_normalization=True, dropout=0.5
                        ),
                    ),
                ),
            ),
            training=adam(
                epochs=100,
                batch_size=128,
                early_stopping=10,
                augmentation=Augmentation(horizontal_flip=True, translation=0.1, rotation=15.0),
            ),
        ),
        parameters=404_778,
        trainable_parameters=403_882,
        published={"accuracy": 0.86},
        assumed=(
            "Adam's rate (0.001) as in Keras",
            "rotation and translation fill with black",
        ),
    ),
    Recipe(
        name="bicocca_inception_resnet_v2",
        source=SOURCE,
        description=(
            "resized to 299x299: InceptionResNetV2, frozen, GAP, D512 BN Do.5, D128 BN Do.5"
        ),
        candidate=Candidate(
            model=pretrained(
                "InceptionResNetV2",
                dense(512, batch_normalization=True, dropout=0.5),
                dense(128, batch_normalization=True, dropout=0.5),
                input_size=299,
            ),
            training=adam(epochs=4, batch_size=256),
        ),
        parameters=55_193_194,
        trainable_parameters=855_178,
        published={"accuracy": 0.92},
        assumed=(
            "dropout 0.5 and 0.5",
            "ReLU, initial weights (glorot_uniform) and Adam's rate (0.001) as in Keras",
            "no augmentation",
        ),
    ),
)
