"""The four networks of the first report, each an improvement of the previous one."""

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.staged import Staged
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate
from spaces.recipes.recipe import KERAS_DEFAULTS, Recipe, adam, convolutions, dense

SOURCE = "granita, published report 001_62ee92c4a2a17ab4.txt"
_FLIPS = "RandomFlip: horizontal only"

_SMALL = Staged(
    stages=(
        convolutions(32, padding="valid"),
        convolutions(64, padding="valid"),
        convolutions(64, padding="valid", reduction="none"),
    )
)

RECIPES = (
    Recipe(
        name="granita_1",
        source=SOURCE,
        description="valid padding: C32 P C64 P C64, Flatten, D64",
        candidate=Candidate(
            model=ModelConfig(
                backbone=_SMALL,
                head=Pooled(pooling="flatten", layers=(dense(64),)),
            ),
            training=adam(epochs=20),
        ),
        parameters=122_570,
        trainable_parameters=122_570,
        published={"accuracy": 0.6877, "loss": 1.1005},
        remark="overfits",
        assumed=(KERAS_DEFAULTS, "20 epochs"),
    ),
    Recipe(
        name="granita_2",
        source=SOURCE,
        description="flips; valid padding: C32 P C64 P C64, Flatten, D64 Do.5",
        candidate=Candidate(
            model=ModelConfig(
                backbone=_SMALL,
                head=Pooled(pooling="flatten", layers=(dense(64, dropout=0.5),)),
            ),
            training=adam(epochs=50, augmentation=Augmentation(horizontal_flip=True)),
        ),
        parameters=122_570,
        trainable_parameters=122_570,
        published={"accuracy": 0.7556, "loss": 0.8183},
        remark="the report's 367,712 parameters include Adam's slots: 3 x 122,570 + 2",
        assumed=(KERAS_DEFAULTS, "50 epochs", "dropout 0.5", _FLIPS),
    ),
    Recipe(
        name="granita_3",
        source=SOURCE,
        description="flips; same padding, L2 0.001: C64 P C128 P C256 P C256, Flatten, D128 D64",
        candidate=Candidate(
            model=ModelConfig(
                backbone=Staged(
                    stages=(
                        *(convolutions(filters, l2=0.001) for filters in (64, 128, 256)),
                        convolutions(256, l2=0.001, reduction="none"),
                    )
                ),
                head=Pooled(pooling="flatten", layers=(dense(128), dense(64))),
            ),
            training=adam(epochs=50, augmentation=Augmentation(horizontal_flip=True)),
        ),
        parameters=1_494_218,
        trainable_parameters=1_494_218,
        published={"accuracy": 0.8169, "loss": 0.8241},
        assumed=(KERAS_DEFAULTS, "50 epochs", "L2 on the convolutions, not on D128 D64", _FLIPS),
    ),
    Recipe(
        name="granita_final",
        source=SOURCE,
        description=(
            "flips; same padding, L2 on convolutions: C64 BN P Do.2, C128 BN P Do.2, "
            "C256 BN P Do.5, C512 BN P Do.5, Flatten, D128 D64"
        ),
        candidate=Candidate(
            model=ModelConfig(
                backbone=Staged(
                    stages=tuple(
                        convolutions(filters, dropout=dropout, normalization="batch", l2=0.001)
                        for filters, dropout in ((64, 0.2), (128, 0.2), (256, 0.5), (512, 0.5))
                    )
                ),
                head=Pooled(pooling="flatten", layers=(dense(128), dense(64))),
            ),
            training=adam(
                epochs=100,
                schedule="plateau",
                early_stopping=10,
                augmentation=Augmentation(horizontal_flip=True),
            ),
        ),
        parameters=1_825_994,
        trainable_parameters=1_824_074,
        published={"accuracy": 0.8637, "loss": 0.7141, "macro_f1": 0.86},
        assumed=(
            KERAS_DEFAULTS,
            "up to 100 epochs, early stopping after 10",
            "the rate halves after 3 epochs without a lower validation loss",
            "dropout 0.5 after C256",
            "L2 0.001",
            _FLIPS,
        ),
    ),
)
