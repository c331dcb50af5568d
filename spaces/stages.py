"""Builds the stages of a network from a few numbers."""

from collections.abc import Sequence
from typing import Literal

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.config import Block, Reduction
from spaces.suggest import Trial


def growing_filters(first: int, growth: float, stages: int, *, most: int = 512) -> list[int]:
    """Returns each stage's filters: `first` times `growth` per stage, rounded to multiples of 8."""
    return [min(most, max(8, round(first * growth**stage / 8) * 8)) for stage in range(stages)]


def suggest_filters(trial: Trial, stages: int, *, low: int, high: int) -> list[int]:
    """Suggests each stage's filters: constant, doubling from stage to stage, or free.

    "constant" and "doubling" use one parameter, "filters", in low..high. "free" has a parameter per
    stage, "stage_1_filters" and so on, in low..2 high.
    """
    schedule = trial.suggest_categorical("filters_schedule", ["constant", "doubling", "free"])
    if schedule == "free":
        return [
            trial.suggest_int(f"stage_{stage}_filters", low, 2 * high, log=True)
            for stage in range(1, stages + 1)
        ]
    first = trial.suggest_int("filters", low, high, log=True)
    return growing_filters(first, 2.0 if schedule == "doubling" else 1.0, stages)


def scheduled_dropout(
    rate: float, schedule: Literal["constant", "rising"], stages: int
) -> list[float]:
    """Returns each stage's dropout or stochastic depth: constant, or rising linearly to `rate`."""
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
    """Builds a backbone of identical blocks with the given filters and dropout per stage.

    `stem_filters` > 0 adds one block at full resolution in front.
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
