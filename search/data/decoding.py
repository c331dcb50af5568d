"""Decodes image files of every format to uint8 RGB arrays in the same way."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from search.data.formats import pillow_formats
from search.data.image_fit import Fit, have_shape
from search.data.levels import SIXTEEN_BITS, Levels
from search.data.types import Images

# Part of the cache keys of image files and arrays: increase it when the same source gives
# different pixels.
DECODING_VERSION = 3
LONGEST_DEFAULT_SIDE = 224

_ORIENTATION_HOLDERS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_ORIENTATION_TAG = 0x0112
_WHITE = (255, 255, 255, 255)
_BLACK = (0, 0, 0)
_LARGEST_DECODED = 1 << 30
_HUGE_PIXELS = 1 << 25
_FEWEST_LEVELS = 16
_STRIP_PIXELS = 1 << 23
_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
# Huge images are decoded one at a time: one per thread would not fit into memory.
_one_huge_image = Lock()


class Header(NamedTuple):
    """The size and value range of an image file, read before it is decoded.

    `low` and `high` are the extreme values of greyscale with more than 8 bits, otherwise NaN.
    """

    height: int
    width: int
    low: float = float("nan")
    high: float = float("nan")


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Silences Pillow's warnings and lifts its image size limit; `decode` has its own limit.

    Pillow's limit rejects photos of 108 megapixels, which JPEG can decode at a reduced size. Wrap
    a whole batch of files, outside the threads: both settings are process-wide.
    """
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def read_header(content: bytes) -> Header:
    """Returns the size of an upright image, and the value range of greyscale above 8 bits.

    Raises whatever Pillow raises if the content is not an image of a supported format.
    """
    with Image.open(io.BytesIO(content), formats=pillow_formats(content)) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        if not _is_deep(image):
            return Header(height, width)
        with _room_for(image):
            values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise ValueError("holds values that are not finite")
        return Header(height, width, low, high)


def decode(
    content: bytes,
    size: tuple[int, int],
    levels: Levels = SIXTEEN_BITS,
    fit: Fit = "stretch",
) -> Images:
    """Decodes an image file to uint8 RGB of shape (height, width, 3).

    Uses the first frame or page, applies EXIF orientation, composites transparency onto white,
    scales greyscale of 16 or 32 bits from `levels`, and resizes to `size` with antialiasing. If
    the aspect ratio differs, `fit` crops around the centre, pads with black or stretches. Raises
    whatever Pillow raises if the content is damaged or truncated, and ValueError if decoding would
    take too much memory or lose nearly all grey levels.
    """
    with Image.open(io.BytesIO(content), formats=pillow_formats(content)) as image:
        orientation = _orientation(image)
        # Read before the draft mode below, which rounds the size.
        shape = image.size[::-1] if orientation < 5 else image.size
        if has_shape(shape, size):
            fit = "stretch"
        # JPEG decodes several times faster at a reduced scale. Never below the target size.
        image.draft("", (max(size), max(size)))
        with _room_for(image) as is_huge:
            has_deep_colours = ";16" in str(image.tile)  # load() clears it
            image.load()
            if has_deep_colours and not _is_deep(image):
                _check_levels(image)
            frame: Image.Image = image
            if is_huge:
                frame = _reduced(image, size if orientation < 5 else size[::-1], levels)
        frame = _upright(frame, orientation)
        return np.asarray(_fitted(_as_rgb(frame, levels), size, fit))


def resize(image: Images, size: tuple[int, int], fit: Fit = "stretch") -> Images:
    """Resizes an RGB array (h, w, 3) to (height, width, 3), as `decode` does."""
    if image.shape[:2] == size:
        return image
    if has_shape(image.shape[:2], size):
        fit = "stretch"
    return np.asarray(_fitted(Image.fromarray(image), size, fit))


def has_shape(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Returns whether an image of shape (height, width) keeps its aspect ratio at `size`."""
    height, width = np.array(shape)
    return bool(have_shape(height, width, size))


def default_size(height: int, width: int) -> tuple[int, int]:
    """Returns the size, shrunk in proportion if its longest side exceeds 224 pixels."""
    scale = min(1.0, LONGEST_DEFAULT_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


@contextmanager
def _room_for(image: Image.Image) -> Iterator[bool]:
    """Yields whether an image is huge; only one huge image is decoded at a time.

    Raises ValueError if the decoded image would take more than 1 GiB.
    """
    width, height = image.size
    needed = width * height * _BYTES_PER_PIXEL.get(image.mode, 4)
    if needed > _LARGEST_DECODED:
        raise ValueError(
            f"{width}x{height} pixels take {needed:,} bytes, more than {_LARGEST_DECODED:,}"
        )
    is_huge = width * height > _HUGE_PIXELS
    with _one_huge_image if is_huge else nullcontext():
        yield is_huge


def _reduced(image: Image.Image, size: tuple[int, int], levels: Levels) -> Image.Image:
    """Shrinks an image to RGB of at least twice `size`, strip by strip to save memory."""
    height, width = size
    factor = min(image.width // width, image.height // height) // 2
    if factor < 2:
        return image
    reduced = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    step = factor * max(1, _STRIP_PIXELS // (factor * image.width))
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height)))
        reduced.paste(_as_rgb(strip, levels).reduce(factor), (0, top // factor))
    return reduced


def _orientation(image: Image.Image) -> int:
    # Reading EXIF costs as much as decoding a small image: skip files that have none.
    if not any(holder in image.info for holder in _ORIENTATION_HOLDERS):
        return 1
    value: Any = image.getexif().get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return image
    image.getexif()[_ORIENTATION_TAG] = orientation  # reducing drops it
    return ImageOps.exif_transpose(image)


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _check_levels(image: Image.Image) -> None:
    """Raises ValueError for 12-bit colours stored in 16 bits: Pillow keeps the upper 8 bits."""
    high = int(np.asarray(image.convert("RGB")).max())
    if 0 < high < _FEWEST_LEVELS:
        raise ValueError(
            f"its 16-bit colours use {high + 1} of 256 levels: scale them to 8 bits first"
        )


def _as_rgb(image: Image.Image, levels: Levels) -> Image.Image:
    if _is_deep(image):  # Pillow's own conversion would clip it to white
        return Image.fromarray(levels.as_uint8(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.BICUBIC)
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    padded = Image.new("RGB", (width, height), _BLACK)
    corner = (width - inner[0]) // 2, (height - inner[1]) // 2
    padded.paste(image.resize(inner, Image.Resampling.BICUBIC), corner)
    return padded
