"""The backbone that a search builds from stages of blocks."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from cnn_blocks.config import AnyBlock, Backbone, Configuration, Normalization, Rate, Reduction
from cnn_blocks.layers import normalize, pool
from cnn_blocks.registry import backbone


class Stage(Configuration):
    """`depth` identical blocks at one resolution.

    `reduction` halves height and width: inside the stage's first block (`place` "first"), or after
    its last block ("last"; "stride" then strides the last block). `normalization` follows the last
    block, before any pooling there, in addition to normalisation inside the blocks. Dropout follows
    the stage; "spatial" dropout drops whole channels (Tompson et al., 2014).
    """

    block: AnyBlock
    depth: PositiveInt = 1
    normalization: Normalization = "none"
    reduction: Reduction = "max"
    place: Literal["first", "last"] = "last"
    dropout: Rate = 0.0
    dropout_kind: Literal["plain", "spatial"] = "plain"

    def __call__(self, x: Any, *, last: bool = False) -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters); `last` means that the head follows."""
        from keras import layers

        for index in range(self.depth):
            inside = (
                index == 0
                if self.place == "first"
                else index == self.depth - 1 and self.reduction == "stride"
            )
            x = self.block(x, reduction=self.reduction if inside else "none")
        if last:
            x = self.block.finish(x)
        x = normalize(x, self.normalization)
        if self.place == "last":
            x = pool(x, self.reduction)
        if not self.dropout:
            return x
        dropout = layers.SpatialDropout2D if self.dropout_kind == "spatial" else layers.Dropout
        return dropout(self.dropout)(x)

    def summary(self) -> str:
        """Returns the filters of each block, as in "64 64"."""
        return " ".join([str(self.block.filters)] * self.depth)


@backbone
class Staged(Backbone):
    """A sequence of stages of blocks."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    def summary(self) -> str:
        """Returns kinds, activations and filters, as in "plain gelu 24 | 64 64 | 128 128"."""
        blocks = [stage.block for stage in self.stages]
        words = dict.fromkeys(
            word for block in blocks for word in (block.kind, getattr(block, "activation", ""))
        )
        filters = " | ".join(stage.summary() for stage in self.stages)
        return " ".join([*filter(None, words), filters])

    def __call__(self, x: Any) -> Any:
        """Maps (N, H, W, 3) to a feature map (N, H', W', C)."""
        return self.stage_outputs(x)[-1]

    def stage_outputs(self, x: Any) -> list[Any]:
        """Maps (N, H, W, 3) to the feature map behind each stage; the last is the backbone's."""
        outputs = []
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x, last=number == len(self.stages))
            outputs.append(x)
        return outputs
