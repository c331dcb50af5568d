"""How a space turns a few numbers into the stages of a network."""

from collections.abc import Sequence
from typing import Literal

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.config import Block, Reduction


def growing_filters(first: int, growth: float, stages: int, *, most: int = 512) -> list[int]:
    """Returns each stage's filters: `first` times `growth` per stage, in whole multiples of 8."""
    return [min(most, max(8, round(first * growth**stage / 8) * 8)) for stage in range(stages)]


def scheduled_dropout(
    rate: float, schedule: Literal["constant", "rising"], stages: int
) -> list[float]:
    """Returns each stage's dropout: the same everywhere, or rising linearly up to `rate`."""
    if schedule == "constant":
        return [rate] * stages
    return [rate * (stage + 1) / stages for stage in range(stages)]


def staged(
    block: Block,
    *,
    filters: Sequence[int],
    depth: int,
    reduction: Reduction,
    place: Literal["first", "last"],
    dropout: Sequence[float],
    stem_filters: int = 0,
) -> Staged:
    """Builds a backbone of equal blocks with the given filters and dropout per stage.

    `stem_filters` > 0 puts one block at full resolution in front.
    """
    stages = [
        Stage(
            block=block.model_copy(update={"filters": stage_filters}),
            depth=depth,
            reduction=reduction,
            place=place,
            dropout=stage_dropout,
        )
        for stage_filters, stage_dropout in zip(filters, dropout, strict=True)
    ]
    if stem_filters:
        stem = block.model_copy(update={"filters": stem_filters})
        stages.insert(0, Stage(block=stem, reduction="none"))
    return Staged(stages=tuple(stages))
