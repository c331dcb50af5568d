"""The residual block with normalisation and activation before each convolution."""

from typing import Any

from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import Convolution, ShortcutBlock
from cnn_blocks.registry import block


@block
class PreactivationResidual(ShortcutBlock):
    """Normalisation, activation, convolution, twice, with a shortcut around them.

    The shortcuts are identities (He et al., 2016, "Identity Mappings"), so one more normalisation
    and activation follow the last block. A convolution should precede the first block, which would
    otherwise activate the image itself.
    """

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        inner = (Convolution(self.filters, self.kernel_size, reduction),)
        return self._activate_first(x, inner, last_kernel=self.kernel_size, reduction=reduction)

    def finish(self, x: Any) -> Any:
        """Normalises and activates the last sum."""
        return self._activate(self._normalize(x))
