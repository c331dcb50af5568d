"""The four networks of the second report: one of its own and three from keras.applications."""

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.staged import Staged
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate, TrainingConfig
from spaces.recipes.recipe import Recipe, convolutions, dense

SOURCE = "g3, published report 002_5e68631e9d6fcee0.txt"

_TRAINING = TrainingConfig(
    epochs=150,
    batch_size=512,
    optimizer="adamw",
    learning_rate=0.001,
    weight_decay=0.004,
    schedule="plateau",
    warmup=0.0,
    early_stopping=10,
    class_weights="balanced",
    augmentation=Augmentation(horizontal_flip=True, rotation=15.0, zoom=0.1),
)
_ASSUMED = (
    "AdamW's decay (0.004) as in Keras",
    "the rate halves after 3 epochs without a lower validation loss",
    "flips left to right, turns up to 15 degrees, zoom up to 10%",
)

RECIPES = (
    Recipe(
        name="g3_homebrew",
        source=SOURCE,
        description=(
            "resized to 64x64: C32 BN Do.2 C32 BN P, C64 BN Do.2 C128 BN P Do.3, C128 C128 Do.4, "
            "GAP, D128 Do.5"
        ),
        candidate=Candidate(
            model=ModelConfig(
                input_size=64,
                backbone=Staged(
                    stages=(
                        convolutions(32, normalization="batch", reduction="none", dropout=0.2),
                        convolutions(32, normalization="batch"),
                        convolutions(64, normalization="batch", reduction="none", dropout=0.2),
                        convolutions(128, normalization="batch", dropout=0.3),
                        convolutions(128, depth=2, reduction="none", dropout=0.4),
                    )
                ),
                head=Pooled(pooling="average", layers=(dense(128, dropout=0.5),)),
            ),
            training=_TRAINING,
        ),
        parameters=416_490,
        trainable_parameters=415_978,
        published={"accuracy": 0.8823, "loss": 0.3564},
        assumed=(
            *_ASSUMED,
            "initial weights (glorot_uniform) and same padding",
            "which dropout stands where: 0.2, 0.2, 0.3, 0.4, 0.5 (the report: 0.2 to 0.5)",
        ),
    ),
)
