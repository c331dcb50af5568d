"""The MobileNetV2 and EfficientNet block: wide inside, narrow between blocks."""

from typing import Annotated, Any

from optuna.distributions import FloatDistribution, IntDistribution
from pydantic import Field, PositiveInt

from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import ShortcutBlock
from cnn_blocks.layers import squeeze_and_excite
from cnn_blocks.registry import block


@block
class InvertedResidual(ShortcutBlock):
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, linear 1x1 projection.

    Sandler et al., 2018 (MobileNetV2), with the gates of Tan and Le, 2019 (EfficientNet). The inner
    width is `expansion` times the input channels. `squeeze_excitation` is the inner width of the
    gates as a fraction of the input channels; 0 means no gates. The block has a shortcut if it
    neither reduces nor changes the number of channels.
    """

    expansion: Annotated[PositiveInt, IntDistribution(1, 6)] = 4
    squeeze_excitation: Annotated[float, Field(ge=0, le=1), FloatDistribution(0.0, 0.5)] = 0.25

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        shortcut, channels = x, x.shape[-1]
        if self.expansion > 1:
            x = self._activate(self._normalize(self._convolve(x, channels * self.expansion)))
        x = self._activate(self._normalize(self._convolve_depthwise(x, reduction=reduction)))
        if self.squeeze_excitation:
            x = squeeze_and_excite(
                x,
                max(1, round(channels * self.squeeze_excitation)),
                self.activation,
                l2=self.l2,
                initializer=self.initializer,
            )
        x = self._normalize(self._convolve_to_add(x))
        if reduction != "none" or channels != self.filters:
            return x
        return self._add(x, shortcut)
