"""The block of the classic networks: convolution, normalisation, activation."""

from typing import Annotated, Any, Literal

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import PositiveInt

from cnn_blocks.config import (
    Activation,
    Block,
    Initializer,
    Normalization,
    Reduction,
    Strength,
)
from cnn_blocks.layers import activate, convolve, normalize, pool
from cnn_blocks.registry import block


@block
class Plain(Block):
    """Convolution, normalisation and activation, in either order.

    `order` "before" normalises before the activation (Ioffe and Szegedy, 2015), "after" behind it
    (as most of the hand-made CIFAR-10 baselines do). Pooling stands right behind the convolution
    in the first order, where the later layers then work on a quarter of the pixels, and behind
    everything in the second.
    """

    filters: Annotated[PositiveInt, IntDistribution(16, 256, log=True)] = 32
    kernel_size: Annotated[PositiveInt, IntDistribution(3, 5, step=2)] = 3
    activation: Annotated[Activation, CategoricalDistribution(["relu", "gelu", "silu", "mish"])] = (
        "relu"
    )
    normalization: Annotated[Normalization, CategoricalDistribution(["batch", "none"])] = "batch"
    order: Annotated[Literal["before", "after"], CategoricalDistribution(["before", "after"])] = (
        "before"
    )
    l2: Annotated[Strength, FloatDistribution(1e-6, 1e-2, log=True)] = 0.0
    padding: Literal["same", "valid"] = "same"
    initializer: Initializer = "he_uniform"

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        first = self.order == "before"
        x = convolve(
            x,
            self.filters,
            kernel_size=self.kernel_size,
            reduction=reduction if first or reduction == "stride" else "none",
            padding=self.padding,
            use_bias=not first or self.normalization == "none",
            l2=self.l2,
            initializer=self.initializer,
        )
        if first:
            return activate(normalize(x, self.normalization), self.activation)
        return pool(normalize(activate(x, self.activation), self.normalization), reduction)
