"""The classic block: convolution, normalisation, activation."""

from typing import Annotated, Any, Literal

from optuna.distributions import CategoricalDistribution

from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import ConvolutionalBlock
from cnn_blocks.layers import activate, convolve, normalize, pool
from cnn_blocks.registry import block


@block
class Plain(ConvolutionalBlock):
    """Convolution, normalisation and activation, in either order.

    `order` "before" normalises before the activation (Ioffe and Szegedy, 2015), "after" normalises
    after it (as most hand-made CIFAR-10 baselines do). With "before", pooling directly follows the
    convolution, so the later layers work on a quarter of the pixels; with "after", it comes last.
    """

    order: Annotated[Literal["before", "after"], CategoricalDistribution(["before", "after"])] = (
        "before"
    )
    padding: Literal["same", "valid"] = "same"

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
