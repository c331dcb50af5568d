"""The ConvNeXt block: the layout of a transformer block, built from convolutions."""

from typing import Annotated, Any

from optuna.distributions import CategoricalDistribution, IntDistribution
from pydantic import PositiveInt

from cnn_blocks.config import Activation, Normalization, Reduction
from cnn_blocks.convolutional import ShortcutBlock
from cnn_blocks.layers import pool
from cnn_blocks.registry import block


@block
class Convnext(ShortcutBlock):
    """Large depthwise convolution, one normalisation, then wide and narrow 1x1 convolutions.

    Liu et al., 2022, "A ConvNet for the 2020s", without its layer scale. If the block reduces or
    changes the number of channels, a convolution (2x2 with stride 2, or 1x1 after pooling) and a
    normalisation come first. One more normalisation follows the last block.
    """

    kernel_size: Annotated[PositiveInt, IntDistribution(3, 7, step=2)] = 7
    activation: Annotated[Activation, CategoricalDistribution(["relu", "gelu", "silu", "mish"])] = (
        "gelu"
    )
    normalization: Annotated[Normalization, CategoricalDistribution(["layer", "batch"])] = "layer"
    expansion: Annotated[PositiveInt, IntDistribution(2, 4)] = 4

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        if reduction != "none" or x.shape[-1] != self.filters:
            x = self._normalize(self._resample(x, reduction))
        branch = self._normalize(self._convolve_depthwise(x))
        branch = self._convolve(branch, self.filters * self.expansion, use_bias=True)
        return self._add(self._convolve_to_add(self._activate(branch)), x)

    def finish(self, x: Any) -> Any:
        """Normalises the last sum."""
        return self._normalize(x)

    def _resample(self, x: Any, reduction: Reduction) -> Any:
        if reduction == "stride":
            return self._convolve(x, self.filters, kernel_size=2, reduction=reduction)
        return self._convolve(pool(x, reduction), self.filters)
