"""The definition of a recipe, and helpers to write one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.backbones.staged import Stage
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import Configuration, ModelConfig, Reduction
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from spaces.candidate import Candidate, TrainingConfig


class Recipe(Configuration):
    """A hand-made baseline from a published report, built and trained as its authors describe.

    Attributes:
        name: The report's key and the network's name.
        source: The published report.
        description: The layers in one line. `C64` is a 3x3 convolution with 64 filters, `P` 2x2
            max pooling, `BN` batch normalisation, `Do.2` dropout 0.2, `D128` a dense layer.
        parameters: Counted for 32x32 images of ten classes; it includes `trainable_parameters`.
        published: The report's figures on the test images of CIFAR-10, by metric.
        remark: The report's own comment on its result.
        assumed: The choices made here for details that the report does not give.
        validation_fraction: Subset of the training images that the report held out.
        images: The number of training and validation images in the report; None for all.
    """

    name: str
    source: str
    description: str
    candidate: Candidate
    parameters: PositiveInt
    trainable_parameters: PositiveInt
    published: Mapping[str, float]
    remark: str = ""
    assumed: tuple[str, ...] = ()
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    images: PositiveInt | None = None

    def published_line(self) -> str:
        """Returns the report's result in one line."""
        figures = ", ".join(
            f"{name.replace('_', ' ')} {value:g}" for name, value in self.published.items()
        )
        return "; ".join(filter(None, (figures, self.remark)))


# Most reports do not give these, so Keras' defaults apply.
KERAS_DEFAULTS = (
    "initial weights (glorot_uniform), Adam's rate (0.001) and batches (32) as in Keras"
)


def convolutions(
    filters: int,
    *,
    depth: int = 1,
    reduction: Reduction = "max",
    dropout: float = 0.0,
    normalize_last: bool = False,
    **block: Any,
) -> Stage:
    """Returns 3x3 convolutions with ReLU, then pooling, then dropout.

    `block` replaces fields of the `Plain` block; normalisation follows the activation.
    `normalize_last` normalises once, after the last convolution's activation.
    """
    fields = {"normalization": "none", "order": "after", "initializer": "glorot_uniform", **block}
    plain = Plain(filters=filters, **fields)
    return Stage(
        block=plain,
        depth=depth,
        normalization="batch" if normalize_last else "none",
        reduction=reduction,
        dropout=dropout,
    )


def dense(units: int, **fields: Any) -> DenseLayer:
    """Returns a dense layer with ReLU; `fields` replace its fields."""
    return DenseLayer(**{"units": units, "initializer": "glorot_uniform", **fields})


def pretrained(
    family: str,
    *layers: DenseLayer,
    dropout: float = 0.0,
    input_size: int | None = None,
    trainable: Literal["none", "all"] = "none",
) -> ModelConfig:
    """Returns a network of keras.applications with ImageNet weights, GAP and dense layers."""
    return ModelConfig(
        preprocessing="none",
        input_size=input_size,
        backbone=KerasApplication(family=family, trainable=trainable),
        head=Pooled(pooling="average", dropout=dropout, layers=layers),
    )


def adam(**changes: Any) -> TrainingConfig:
    """Returns Keras' default training, Adam at 0.001 with batches of 32; `changes` replace it."""
    settings = {
        "epochs": 50,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "schedule": "constant",
        "warmup": 0.0,
    }
    return TrainingConfig(**(settings | changes))
