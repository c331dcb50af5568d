"""A block of your own: SqueezeNet's fire module instead of plain convolutions.

    python -m search.run --study examples/own_block.py

Expect: a network of fire modules for handwritten digits, in less than a minute.
"""

from typing import Annotated

from optuna.distributions import CategoricalDistribution, FloatDistribution
from pydantic import Field

from cnn_blocks import Activation, Block, ModelConfig, Pooled, activate, block, convolve, normalize
from studies import Candidate, StudySpec, TrainingConfig, growing_filters, staged, suggest_component


@block
class Fire(Block):
    """Squeezes channels by a 1x1 convolution, expands them by 1x1 and 3x3 side by side."""

    filters: Annotated[int, Field(ge=2)] = 32
    squeeze: Annotated[float, Field(gt=0, le=1), FloatDistribution(0.1, 0.6)] = 0.25
    activation: Annotated[Activation, CategoricalDistribution(["relu", "silu"])] = "relu"

    def __call__(self, x, *, reduction="none"):
        from keras import layers

        x = convolve(x, max(1, round(self.filters * self.squeeze)), kernel_size=1)
        x = activate(normalize(x, "batch"), self.activation)
        half = self.filters // 2
        narrow = convolve(x, half, kernel_size=1, reduction=reduction)
        wide = convolve(x, self.filters - half, kernel_size=3, reduction=reduction)
        return activate(normalize(layers.Concatenate()([narrow, wide]), "batch"), self.activation)


def fire_modules(trial):
    first = trial.suggest_int("first_filters", 16, 32, step=16)
    backbone = staged(
        suggest_component(trial, Fire, filters=first),
        filters=growing_filters(first, 2.0, 3),
        depth=1,
        reduction="max",
        place="first",
        dropout=[0.0] * 3,
    )
    training = TrainingConfig(batch_size=64, learning_rate=1e-2)
    return Candidate(model=ModelConfig(backbone=backbone, head=Pooled()), training=training)


study = StudySpec(
    name="own_block",
    description="Width and activation of fire modules.",
    space=fire_modules,
    data="digits",
    trials=3,
    epochs=3,
    retrain_epochs=8,
    workers=0,
)
