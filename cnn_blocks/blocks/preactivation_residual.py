"""The residual block with normalisation and activation in front of each convolution."""

from typing import Any

from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import Convolution, ShortcutBlock
from cnn_blocks.registry import block


@block
class PreactivationResidual(ShortcutBlock):
    """Normalisation, activation, convolution, twice, with a shortcut around them.

    Nothing stands on the way through the shortcuts (He et al., 2016, "Identity Mappings"), so the
    last block is followed by one more normalisation and activation. A convolution should stand in
    front of the first: it would activate the image itself.
    """

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        inner = (Convolution(self.filters, self.kernel_size, reduction),)
        return self._activate_first(x, inner, last_kernel=self.kernel_size, reduction=reduction)

    def finish(self, x: Any) -> Any:
        """Normalises and activates the last sum."""
        return self._activate(self._normalize(x))
