"""What all images of a data set are brought to: one size and one range of grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.data import decoding
from search.data.inspection import Inspection
from search.data.levels import SIXTEEN_BITS, Levels, choose_levels


@dataclass(frozen=True)
class Target:
    """The size (height, width) of all images, the levels of deep grey, and notes on both."""

    size: tuple[int, int]
    levels: Levels
    notes: tuple[str, ...] = ()


def choose_target(
    inspection: Inspection, in_development: int, image_size: tuple[int, int] | None
) -> Target:
    """Returns what the first `in_development` files (training and validation) decide.

    At least one of them is readable.
    """
    size, size_notes = _choose_size(inspection, in_development, image_size)
    levels, level_notes = _choose_levels(inspection, in_development)
    return Target(size, levels, (*size_notes, *level_notes))


def _choose_size(
    inspection: Inspection, in_development: int, image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], list[str]]:
    pairs = np.stack([inspection.heights, inspection.widths], axis=1)
    readable = pairs[pairs[:, 0] > 0]
    development = pairs[:in_development]
    development = development[development[:, 0] > 0]
    sizes, counts = np.unique(development, axis=0, return_counts=True)
    if image_size is not None:
        size, origin = image_size, "as asked"
    else:
        # Of equally common sizes, the middle one by area.
        commonest = sizes[counts == counts.max()]
        order = np.argsort(commonest.prod(axis=1), kind="stable")
        height, width = (int(side) for side in commonest[order[len(order) // 2]])
        size = decoding.default_size(height, width)
        origin = "the commonest size"
        if size != (height, width):
            origin = f"the commonest size, {height}x{width}, shrunk to {max(size)} pixels"
    different = int((readable != size).any(axis=1).sum())
    if not different:
        return size, []
    return size, [
        f"{different} of {len(readable)} images were resized to {size[0]}x{size[1]} pixels "
        f"(height x width): {origin}. --image-size chooses another size."
    ]


def _choose_levels(inspection: Inspection, in_development: int) -> tuple[Levels, list[str]]:
    deep = np.flatnonzero(np.isfinite(inspection.lows))
    if not len(deep):
        return SIXTEEN_BITS, []
    deciding = deep[deep < in_development]
    if not len(deciding):
        deciding = deep
    levels = choose_levels(
        float(inspection.lows[deciding].min()), float(inspection.highs[deciding].max())
    )
    if levels == SIXTEEN_BITS:
        return levels, []
    return levels, [
        f"{len(deep)} grey images are stored with more than 8 bits; their values {levels.low:g} to "
        f"{levels.high:g} became 0 to 255, in all roles alike."
    ]
