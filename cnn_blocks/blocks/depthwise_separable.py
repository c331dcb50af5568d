"""The MobileNet block: a convolution of each channel, then one across channels."""

from typing import Any

from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import ConvolutionalBlock
from cnn_blocks.registry import block


@block
class DepthwiseSeparable(ConvolutionalBlock):
    """Depthwise and 1x1 convolution, each normalised and activated (Howard et al., 2017).

    The depthwise convolution does the reduction.
    """

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        x = self._activate(self._normalize(self._convolve_depthwise(x, reduction=reduction)))
        return self._activate(self._normalize(self._convolve(x, self.filters)))
