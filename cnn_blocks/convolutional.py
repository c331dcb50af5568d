"""Common fields and building pieces of the built-in searchable blocks."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import PositiveInt

from cnn_blocks.config import (
    Activation,
    Block,
    Initializer,
    Normalization,
    Rate,
    Reduction,
    Strength,
)
from cnn_blocks.layers import (
    activate,
    convolve,
    convolve_depthwise,
    drop_branch,
    halve,
    normalize,
)


class Convolution(NamedTuple):
    """A convolution of a residual branch before the last one."""

    filters: int
    kernel_size: int
    reduction: Reduction = "none"


class ConvolutionalBlock(Block):
    """A block that uses one activation, normalisation, L2 and initialiser (abstract)."""

    filters: Annotated[PositiveInt, IntDistribution(16, 256, log=True)] = 32
    kernel_size: Annotated[PositiveInt, IntDistribution(3, 5, step=2)] = 3
    activation: Annotated[Activation, CategoricalDistribution(["relu", "gelu", "silu", "mish"])] = (
        "relu"
    )
    normalization: Annotated[Normalization, CategoricalDistribution(["batch", "none"])] = "batch"
    l2: Annotated[Strength, FloatDistribution(1e-6, 1e-2, log=True)] = 0.0
    initializer: Initializer = "he_uniform"

    def _activate(self, x: Any) -> Any:
        return activate(x, self.activation)

    def _normalize(self, x: Any) -> Any:
        return normalize(x, self.normalization)

    def _convolve(
        self,
        x: Any,
        filters: int,
        *,
        kernel_size: int = 1,
        reduction: Reduction = "none",
        use_bias: bool | None = None,
    ) -> Any:
        # By default there is a bias only without normalisation, which has its own offset.
        return convolve(
            x,
            filters,
            kernel_size=kernel_size,
            reduction=reduction,
            use_bias=self.normalization == "none" if use_bias is None else use_bias,
            l2=self.l2,
            initializer=self.initializer,
        )

    def _convolve_depthwise(self, x: Any, *, reduction: Reduction = "none") -> Any:
        return convolve_depthwise(
            x,
            kernel_size=self.kernel_size,
            reduction=reduction,
            use_bias=self.normalization == "none",
            l2=self.l2,
            initializer=self.initializer,
        )


class ShortcutBlock(ConvolutionalBlock):
    """A block with a shortcut around its convolutions (abstract).

    `stochastic_depth` is the probability that a training image skips them (Huang et al., 2016); a
    space increases it with depth.
    """

    stochastic_depth: Annotated[Rate, FloatDistribution(0.0, 0.3)] = 0.0

    def _add(self, branch: Any, shortcut: Any) -> Any:
        from keras import layers

        return layers.Add()([drop_branch(branch, self.stochastic_depth), shortcut])

    def _convolve_to_add(self, x: Any, *, kernel_size: int = 1) -> Any:
        # No bias before the addition. TensorFlow on CPUs fuses bias, addition and activation at
        # inference, and fails for activations without such a kernel, such as mish.
        return self._convolve(x, self.filters, kernel_size=kernel_size, use_bias=False)

    def _activate_last(
        self, x: Any, inner: Sequence[Convolution], *, last_kernel: int, reduction: Reduction
    ) -> Any:
        """Applies convolution, normalisation, activation; the last activation follows the sum."""
        shortcut = halve(x, reduction)
        if x.shape[-1] != self.filters:
            shortcut = self._normalize(self._convolve_to_add(shortcut))
        x = self._normalize(self._convolve_to_add(self._inside(x, inner), kernel_size=last_kernel))
        return self._activate(self._add(x, shortcut))

    def _activate_first(
        self, x: Any, inner: Sequence[Convolution], *, last_kernel: int, reduction: Reduction
    ) -> Any:
        """Applies normalisation, activation, convolution; nothing follows the addition.

        If the number of channels changes, the shortcut's 1x1 convolution uses the activated input.
        """
        ready = self._activate(self._normalize(x))
        if x.shape[-1] == self.filters:
            shortcut = halve(x, reduction)
        else:
            shortcut = self._convolve_to_add(halve(ready, reduction))
        x = self._convolve_to_add(self._inside(ready, inner), kernel_size=last_kernel)
        return self._add(x, shortcut)

    def _inside(self, x: Any, inner: Sequence[Convolution]) -> Any:
        for filters, kernel_size, reduction in inner:
            x = self._convolve(x, filters, kernel_size=kernel_size, reduction=reduction)
            x = self._activate(self._normalize(x))
        return x
