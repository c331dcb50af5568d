"""Converts image arrays of any type to uint8 RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from search.data.levels import SIXTEEN_BITS, Levels, choose_levels
from search.data.types import Images

_FRACTIONS = Levels(0, 1)
_BYTES = Levels(0, 255)
_SAMPLED_IMAGES = 1000


def height_and_width(images: NDArray[Any], name: str) -> tuple[int, int]:
    """Returns (height, width) of images (n, height, width[, channels]).

    Raises UserError for any other shape.
    """
    shape = images.shape
    if len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4)):
        if min(shape[1:]) < 1:
            raise UserError(f"Images need pixels; {name} has shape {shape}.")
        return shape[1], shape[2]
    hint = ""
    if len(shape) == 2:
        hint = " Fix: restore the image shape, for example images.reshape(-1, 28, 28)."
    if len(shape) == 4 and shape[1] in (1, 3, 4):
        hint = " Fix: put the channels last with images.transpose(0, 2, 3, 1)."
    raise UserError(
        "Images must have shape (images, height, width) or (images, height, width, channels) with "
        f"1, 3 or 4 channels; {name} has shape {shape}.{hint}"
    )


def training_levels(images: NDArray[Any], name: str) -> Levels:
    """Returns the values that map to 0 and 255. Raises UserError if pixels are not numbers."""
    if images.dtype.kind not in "biuf":
        raise UserError(f"Pixels must be numbers; {name} has type {images.dtype}.")
    if images.dtype.kind == "b":
        return _FRACTIONS
    if images.dtype == np.uint8:
        return _BYTES
    low, high = float(images.min()), float(images.max())
    if images.dtype.kind == "f":
        return _FRACTIONS if high <= 1 else _BYTES
    return _BYTES if low >= 0 and high <= 255 else choose_levels(low, high)


def level_notes(levels: Levels, name: str) -> list[str]:
    """Returns a note on the value range if it is neither 0..1 nor 0..255."""
    if levels in (_FRACTIONS, _BYTES):
        return []
    return [
        f"The values {levels.low:g} to {levels.high:g} of {name} were scaled to 0 to 255, the same "
        "in all roles."
    ]


def levels_of_files(levels: Levels) -> Levels:
    """Returns the levels for greyscale files above 8 bits that go with such arrays.

    Arrays in 0..1 or 0..255 do not determine them; these files then use all 16 bits.
    """
    return SIXTEEN_BITS if levels in (_FRACTIONS, _BYTES) else levels


def check_range(images: NDArray[Any], name: str, levels: Levels, train_name: str) -> None:
    """Raises UserError if a role's values are in a different range from the training images'.

    Images in 0..1 would be black next to images in 0..255.
    """
    if levels == _FRACTIONS or images.dtype.kind not in "uf" or not images.size:
        return
    high = float(images.max())
    if levels == _BYTES:
        # Integers up to 1 may be very dark images.
        sample = images[:: max(1, len(images) // _SAMPLED_IMAGES)]
        differs = images.dtype.kind == "f" and high <= 1 and bool((sample % 1 != 0).any())
    else:
        differs = images.dtype == np.uint8
    if differs:
        raise UserError(
            f"All roles must hold pixels in the same range; {name} ({images.dtype}) goes up to "
            f"{high:g}, and {train_name} goes up to {levels.high:g}. Fix: scale both the same way."
        )


def as_uint8(image: NDArray[Any], levels: Levels, name: str) -> Images:
    """Returns one image, scaled from the levels to 0..255 and rounded."""
    if image.dtype == np.uint8:
        return np.asarray(image)
    if image.dtype.kind not in "biuf":
        raise UserError(f"Pixels must be numbers; {name} has type {image.dtype}.")
    low, high = float(image.min()), float(image.max())
    is_own_range = levels not in (_FRACTIONS, _BYTES)
    if not is_own_range and not (low >= levels.low and high <= levels.high):  # also NaN
        raise UserError(
            "Pixels must be uint8, integers, or floats in 0..1 or 0..255 (the training images "
            f"decide which); {name} holds {low:g} to {high:g}. "
            "Fix: undo any standardisation; the models standardise their input themselves."
        )
    return levels.as_uint8(image)


def as_rgb(image: Images) -> Images:
    """Returns an image (height, width[, 1, 3 or 4 channels]) with three channels."""
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    if image.shape[2] == 4:  # composited onto white, as image files are
        opacity = image[:, :, 3:].astype(np.float64) / 255
        return np.rint(image[:, :, :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return np.broadcast_to(image, (*image.shape[:2], 3))
