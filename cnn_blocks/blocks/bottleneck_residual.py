"""The residual block of deep ResNets: few channels at the large kernel."""

from typing import Annotated, Any

from optuna.distributions import CategoricalDistribution, IntDistribution
from pydantic import PositiveInt

from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import Convolution, ShortcutBlock
from cnn_blocks.registry import block


@block
class BottleneckResidual(ShortcutBlock):
    """1x1, spatial and 1x1 convolution with a shortcut around them (He et al., 2015).

    The spatial convolution has `filters` / `bottleneck` channels and does the reduction.
    Activations follow the convolutions or, with `preactivation`, precede them (He et al., 2016).
    """

    bottleneck: Annotated[PositiveInt, IntDistribution(2, 4)] = 4
    preactivation: Annotated[bool, CategoricalDistribution([False, True])] = False

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        filters = max(1, self.filters // self.bottleneck)
        inner = (Convolution(filters, 1), Convolution(filters, self.kernel_size, reduction))
        if self.preactivation:
            return self._activate_first(x, inner, last_kernel=1, reduction=reduction)
        return self._activate_last(x, inner, last_kernel=1, reduction=reduction)

    def finish(self, x: Any) -> Any:
        """With `preactivation`, normalises and activates the last sum."""
        return self._activate(self._normalize(x)) if self.preactivation else x
