"""The four networks of the fourth report: a small CNN, a custom VGG and two frozen backbones."""

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.staged import Staged
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate
from spaces.recipes.recipe import KERAS_DEFAULTS, Recipe, adam, convolutions, dense, pretrained

SOURCE = "ironhack, published report 004_2511cfae0bc84e45.txt"


_TRAINING = adam(augmentation=Augmentation(translation=0.1, rotation=15.0))

RECIPES = (
    Recipe(
        name="ironhack_1",
        source=SOURCE,
        description="C32 P, C32 P, Flatten, D256",
        candidate=Candidate(
            model=ModelConfig(
                backbone=Staged(
                    stages=(
                        convolutions(32, padding="valid"),
                        convolutions(32, padding="valid"),
                    )
                ),
                head=Pooled(pooling="flatten", layers=(dense(256),)),
            ),
            training=adam(epochs=20),
        ),
        parameters=307_882,
        trainable_parameters=307_882,
        published={
            "accuracy": 0.7415,
            "loss": 0.844,
            "precision": 0.830,
            "recall": 0.652,
            "f1": 0.728,
        },
        assumed=(KERAS_DEFAULTS, "20 epochs", "valid padding", "Flatten before D256"),
    ),
    Recipe(
        name="ironhack_vgg12",
        source=SOURCE,
        description=(
            "same padding: C32 C32 BN P, C64 C64 BN P, C128 C128 BN P, C256 C256 C256 BN P, "
            "C512 C512 C512 BN P, Flatten, Do.5, D256 with L2 0.001"
        ),
        candidate=Candidate(
            model=ModelConfig(
                backbone=Staged(
                    stages=tuple(
                        convolutions(filters, depth=depth, normalize_last=True)
                        for filters, depth in ((32, 2), (64, 2), (128, 2), (256, 3), (512, 3))
                    )
                ),
                head=Pooled(pooling="flatten", dropout=0.5, layers=(dense(256, l2=0.001),)),
            ),
            training=_TRAINING,
        ),
        parameters=7_799_978,
        trainable_parameters=7_797_994,
        published={
            "accuracy": 0.7768,
            "loss": 1.267,
            "precision": 0.784,
            "recall": 0.773,
            "f1": 0.778,
        },
        assumed=(KERAS_DEFAULTS, "50 epochs", "rotation and translation fill with black"),
    ),
    *(
        Recipe(
            name=name,
            source=SOURCE,
            description=f"resized to 64x64: {family}, frozen, GAP, Do.5, D256 with L2 0.001",
            candidate=Candidate(
                model=pretrained(family, dense(256, l2=0.001), dropout=0.5, input_size=64),
                training=_TRAINING,
            ),
            parameters=parameters,
            trainable_parameters=trainable_parameters,
            published={},
            remark=remark,
            assumed=(
                KERAS_DEFAULTS,
                "64x64 pixels, GAP and the head of ironhack_vgg12",
                "trained like ironhack_vgg12",
            ),
        )
        for name, family, parameters, trainable_parameters, remark in (
            ("ironhack_resnet50", "ResNet50", 24_114_826, 527_114, "better than ironhack_vgg12"),
            ("ironhack_vgg16", "VGG16", 14_848_586, 133_898, "below ironhack_resnet50"),
        )
    ),
)
