"""Chooses the common size, shape and grey levels of all images of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data import decoding
from search.data.decoding_settings import Decoding
from search.data.image_fit import FIT_WORDS, Fit, have_shape, kept_share
from search.data.inspection import Inspection
from search.data.levels import SIXTEEN_BITS, Levels, choose_levels

# Images are cropped to the most common shape if nearly all keep most of their area.
_FEWEST_KEPT = 0.6
_OUTLIERS = 0.1


@dataclass(frozen=True)
class Target:
    """How all images are decoded, whether any changes its aspect ratio, and notes on both."""

    decoding: Decoding
    changes_shapes: bool
    notes: tuple[str, ...] = ()


def choose_target(
    inspection: Inspection,
    in_development: int,
    image_size: tuple[int, int] | None,
    fit: Fit,
    levels: Levels | None = None,
) -> Target:
    """Returns the target chosen from the first `in_development` files (training and validation).

    At least one of them must be readable. `levels` replaces those that the files would decide.
    """
    size, origin = _choose_size(inspection, in_development, image_size, fit)
    level_notes: list[str] = []
    if levels is None:
        levels, level_notes = _choose_levels(inspection, in_development)
    pairs = np.stack([inspection.heights, inspection.widths], axis=1)
    pairs = pairs[pairs[:, 0] > 0]
    reshaped = int((~have_shape(pairs[:, 0], pairs[:, 1], size)).sum())
    return Target(
        decoding=Decoding(size=size, fit=fit, levels=levels),
        changes_shapes=reshaped > 0,
        notes=(*_size_notes(pairs, size, origin, reshaped, fit), *level_notes),
    )


def _choose_size(
    inspection: Inspection, in_development: int, image_size: tuple[int, int] | None, fit: Fit
) -> tuple[tuple[int, int], str]:
    """Returns (height, width) and its origin, for a note."""
    if image_size is not None:
        return image_size, "as requested"
    pairs = np.stack([inspection.heights, inspection.widths], axis=1)[:in_development]
    pairs = pairs[pairs[:, 0] > 0]
    sizes, counts = np.unique(pairs, axis=0, return_counts=True)
    # Ties go to the size with the median area.
    commonest = sizes[counts == counts.max()]
    order = np.argsort(commonest.prod(axis=1), kind="stable")
    height, width = (int(side) for side in commonest[order[len(order) // 2]])
    origin = "the most common size"
    if fit != "stretch":
        kept = kept_share(pairs[:, 0], pairs[:, 1], (height, width))
        if np.quantile(kept, _OUTLIERS) < _FEWEST_KEPT:
            # Landscapes and portraits in one set: neither shape suits the other.
            height = width = min(height, width) if fit == "crop" else max(height, width)
            origin = "a square, because their shapes vary"
    size = decoding.default_size(height, width)
    if size != (height, width):
        origin = f"{origin}, {height}x{width}, shrunk to {max(size)} pixels"
    return size, origin


def _size_notes(
    pairs: NDArray[np.int64], size: tuple[int, int], origin: str, reshaped: int, fit: Fit
) -> list[str]:
    different = int((pairs != size).any(axis=1).sum())
    if not different:
        return []
    shapes = f"{reshaped} of another shape: {FIT_WORDS[fit]}. " if reshaped else ""
    return [
        f"{different} of {len(pairs)} images were resized to {size[0]}x{size[1]} pixels "
        f"(height x width): {origin}. {shapes}--image-size chooses another size."
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
        f"{levels.high:g} were scaled to 0 to 255, the same in all roles."
    ]
