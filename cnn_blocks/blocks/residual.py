"""The residual block, with the activation behind the addition."""

from typing import Annotated, Any

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
class Residual(Block):
    """Two convolutions with a shortcut around them (He et al., 2015, "Deep Residual Learning").

    The shortcut is a 1x1 convolution where the channels change and pooled where the block reduces,
    by averages where the block strides (He et al., 2018, "Bag of Tricks", ResNet-D).
    """

    filters: Annotated[PositiveInt, IntDistribution(16, 256, log=True)] = 32
    kernel_size: Annotated[PositiveInt, IntDistribution(3, 5, step=2)] = 3
    activation: Annotated[Activation, CategoricalDistribution(["relu", "gelu", "silu", "mish"])] = (
        "relu"
    )
    normalization: Annotated[Normalization, CategoricalDistribution(["batch", "none"])] = "batch"
    l2: Annotated[Strength, FloatDistribution(1e-6, 1e-2, log=True)] = 0.0
    initializer: Initializer = "he_uniform"

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        from keras import layers

        shortcut = _halve(x, reduction)
        if x.shape[-1] != self.filters:
            shortcut = self._convolve(shortcut, kernel_size=1)
        unnormalized = self.normalization == "none"
        x = self._convolve(
            x, kernel_size=self.kernel_size, reduction=reduction, use_bias=unnormalized
        )
        x = activate(x, self.activation)
        x = self._convolve(x, kernel_size=self.kernel_size)
        return activate(layers.Add()([x, shortcut]), self.activation)

    def _convolve(
        self,
        x: Any,
        *,
        kernel_size: int,
        reduction: Reduction = "none",
        use_bias: bool = False,
    ) -> Any:
        # No bias before the addition: TensorFlow on CPUs fuses bias, addition and activation when
        # it predicts, and fails where it has no such kernel, as for mish.
        x = convolve(
            x,
            self.filters,
            kernel_size=kernel_size,
            reduction=reduction,
            use_bias=use_bias,
            l2=self.l2,
            initializer=self.initializer,
        )
        return normalize(x, self.normalization)


def _halve(x: Any, reduction: Reduction) -> Any:
    from keras import layers

    if reduction == "stride":
        # "same" padding rounds odd sizes up, as the strided convolution beside it does.
        return layers.AveragePooling2D(2, padding="same")(x)
    return pool(x, reduction)
