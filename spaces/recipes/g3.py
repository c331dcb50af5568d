"""The four networks of the second report: a custom CNN and three from keras.applications."""

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.staged import Staged
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate, TrainingConfig
from spaces.recipes.recipe import Recipe, convolutions, dense, pretrained

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
    "horizontal flips, rotation up to 15 degrees, zoom up to 10%",
)

_CHANCE = "at chance in the report, which blames preprocessing and fine-tuning"

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
            "the order of the dropout rates: 0.2, 0.2, 0.3, 0.4, 0.5 (the report: 0.2 to 0.5)",
        ),
    ),
    *(
        Recipe(
            name=name,
            source=SOURCE,
            description=f"resized to 64x64: {family}, trained as a whole, GAP, D128 Do.5",
            candidate=Candidate(
                model=pretrained(family, dense(128, dropout=0.5), input_size=64, trainable="all"),
                training=_TRAINING.model_copy(update={"learning_rate": 0.0001}),
            ),
            parameters=parameters,
            trainable_parameters=trainable_parameters,
            published={"accuracy": accuracy},
            remark=remark,
            assumed=(
                *_ASSUMED,
                "trained like g3_homebrew, but at a tenth of the rate: 0.0001",
                "64x64 pixels and the head of g3_homebrew",
                "the network's own preprocessing, and updated batch-normalisation statistics",
            ),
        )
        for name, family, parameters, trainable_parameters, accuracy, remark in (
            (
                "g3_efficientnet_b1",
                "EfficientNetB1",
                6_740_497,
                6_678_442,
                0.6496,
                "0.4419 before fine-tuning",
            ),
            ("g3_resnet101_v2", "ResNet101V2", 42_890_122, 42_792_458, 0.11, _CHANCE),
            ("g3_densenet121", "DenseNet121", 7_169_994, 7_086_346, 0.10, f"about; {_CHANCE}"),
        )
    ),
)
