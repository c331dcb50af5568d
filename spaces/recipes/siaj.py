"""The four networks of the fifth report: one design in two frameworks, two pretrained ones."""

from cnn_blocks.backbones.staged import Staged
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate
from spaces.recipes.recipe import Recipe, adam, convolutions, dense, pretrained

SOURCE = "siaj, published report 000_3ee060b9d7a44964.txt"

_BLOCKS = (
    "same padding: [C32 BN C32 BN P Do.2] [C64 BN C64 BN P Do.3] [C128 BN C128 BN P Do.4], "
    "Flatten, D128"
)
_MODEL = ModelConfig(
    backbone=Staged(
        stages=tuple(
            convolutions(filters, depth=2, normalization="batch", dropout=dropout)
            for filters, dropout in ((32, 0.2), (64, 0.3), (128, 0.4))
        )
    ),
    head=Pooled(pooling="flatten", layers=(dense(128),)),
)
_ASSUMED = (
    "three blocks of 32, 64 and 128 filters with dropout 0.2, 0.3 and 0.4, and D128",
    "initial weights (glorot_uniform) as in Keras",
)

_TRANSFER = (
    "frozen, with GAP and D128",
    "trained like siaj_pytorch, on all images",
    "initial weights (glorot_uniform) as in Keras",
)

RECIPES = (
    Recipe(
        name="siaj_tensorflow",
        source=SOURCE,
        description=_BLOCKS,
        candidate=Candidate(model=_MODEL, training=adam(epochs=60)),
        parameters=552_362,
        trainable_parameters=551_466,
        published={"accuracy": 0.722, "loss": 1.31},
        remark="trained on 8,000 images",
        assumed=(*_ASSUMED, "the 8,000 images include the 10% for validation"),
        validation_fraction=0.1,
        images=8_000,
    ),
    Recipe(
        name="siaj_pytorch",
        source=SOURCE,
        description=_BLOCKS,
        candidate=Candidate(model=_MODEL, training=adam(epochs=60)),
        parameters=552_362,
        trainable_parameters=551_466,
        published={"accuracy": 0.84},
        remark="the same design in PyTorch",
        assumed=(
            *_ASSUMED,
            "trained like siaj_tensorflow, but on all images: 8,000 do not give this accuracy",
        ),
        validation_fraction=0.1,
    ),
    Recipe(
        name="siaj_xception",
        source=SOURCE,
        description="resized to 96x96: Xception, frozen, GAP, D128",
        candidate=Candidate(
            model=pretrained("Xception", dense(128), input_size=96),
            training=adam(epochs=60),
        ),
        parameters=21_125_042,
        trainable_parameters=263_562,
        published={"accuracy": 0.82, "loss": 0.15},
        assumed=(*_TRANSFER, "96x96 pixels: Xception needs at least 71"),
        validation_fraction=0.1,
    ),
    Recipe(
        name="siaj_vgg16",
        source=SOURCE,
        description="at 32x32: VGG16, frozen, GAP, D128",
        candidate=Candidate(
            model=pretrained("VGG16", dense(128), input_size=32),
            training=adam(epochs=60),
        ),
        parameters=14_781_642,
        trainable_parameters=66_954,
        published={"accuracy": 0.652, "loss": 1.716},
        assumed=(*_TRANSFER, "32x32 pixels"),
        validation_fraction=0.1,
    ),
)
