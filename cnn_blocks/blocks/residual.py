"""The residual block with the activation after the addition."""

from typing import Any

from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import Convolution, ShortcutBlock
from cnn_blocks.registry import block


@block
class Residual(ShortcutBlock):
    """Two convolutions with a shortcut around them (He et al., 2015, "Deep Residual Learning").

    The shortcut is a 1x1 convolution if the number of channels changes. If the block reduces, the
    shortcut is pooled, with average pooling if the block strides (He et al., 2018, "Bag of
    Tricks", ResNet-D).
    """

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        inner = (Convolution(self.filters, self.kernel_size, reduction),)
        return self._activate_last(x, inner, last_kernel=self.kernel_size, reduction=reduction)
