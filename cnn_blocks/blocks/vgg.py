"""The VGG block: two or three plain convolutions."""

from typing import Annotated, Any, Literal

from optuna.distributions import CategoricalDistribution, IntDistribution
from pydantic import PositiveInt

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import Reduction
from cnn_blocks.convolutional import ConvolutionalBlock
from cnn_blocks.registry import block


@block
class Vgg(ConvolutionalBlock):
    """Two or three plain convolutions; the last one reduces (Simonyan and Zisserman, 2014).

    Equivalent to that many `Plain` blocks in a stage that reduces at its end. As a separate block,
    it can compete with other blocks in a search. `order` is that of `Plain`.
    """

    convolutions: Annotated[PositiveInt, IntDistribution(2, 3)] = 2
    order: Annotated[Literal["before", "after"], CategoricalDistribution(["before", "after"])] = (
        "before"
    )

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        shared = {name: value for name, value in self if name != "convolutions"}
        plain = Plain.model_validate(shared)
        for _ in range(self.convolutions - 1):
            x = plain(x)
        return plain(x, reduction=reduction)
