"""Image files to uint8 RGB arrays, the same way for every format."""

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

# Part of the cache keys of image files and arrays: raise it when the same source would give other
# pixels.
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
# One at a time: as many as there are threads would not fit into memory.
_one_huge_image = Lock()


class Header(NamedTuple):
    """What is known of an image file before it is decoded.

    `low` and `high` are its extreme values where it holds more than 8 bits of grey, else NaN.
    """

    height: int
    width: int
    low: float = float("nan")
    high: float = float("nan")


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Silences Pillow's warnings and lifts its limit of image sizes; `decode` has its own.

    Pillow's limit refuses photos of 108 megapixels, which JPEG decodes at a reduced size. Wraps a
    whole batch of files, outside its threads: both settings belong to the process.
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
    """Returns the size of an image file as it is meant to be seen, and its range of deep grey.

    Raises whatever Pillow raises where the content is no image of a supported format.
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

    The first frame or page counts; EXIF orientation is applied; transparency is laid on white;
    grey of 16 or 32 bits is scaled from `levels`; another size is brought to `size`, antialiased:
    its shape is cropped around the centre, padded with black or stretched. Raises whatever Pillow
    raises where the content is damaged or truncated, and ValueError where it would take too much
    memory or lose nearly all its levels.
    """
    with Image.open(io.BytesIO(content), formats=pillow_formats(content)) as image:
        orientation = _orientation(image)
        # Before the reduction, which rounds the size.
        shape = image.size[::-1] if orientation < 5 else image.size
        if has_shape(shape, size):
            fit = "stretch"
        # JPEG photos decode several times faster at a reduced scale; never below the target size.
        image.draft("", (max(size), max(size)))
        with _room_for(image) as is_huge:
            has_deep_colours = ";16" in str(image.tile)  # forgotten once it is loaded
            image.load()
            if has_deep_colours and not _is_deep(image):
                _check_levels(image)
            frame: Image.Image = image
            if is_huge:
                frame = _reduced(image, size if orientation < 5 else size[::-1], levels)
        frame = _upright(frame, orientation)
        return np.asarray(_fitted(_as_rgb(frame, levels), size, fit))


def resize(image: Images, size: tuple[int, int], fit: Fit = "stretch") -> Images:
    """Brings an RGB array (h, w, 3) to (height, width, 3), as `decode` does."""
    if image.shape[:2] == size:
        return image
    if has_shape(image.shape[:2], size):
        fit = "stretch"
    return np.asarray(_fitted(Image.fromarray(image), size, fit))


def has_shape(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Returns whether an image of shape (height, width) keeps its proportions at `size`."""
    height, width = np.array(shape)
    return bool(have_shape(height, width, size))


def default_size(height: int, width: int) -> tuple[int, int]:
    """Returns the size itself, or shrunk in proportion to a longest side of 224 pixels."""
    scale = min(1.0, LONGEST_DEFAULT_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


@contextmanager
def _room_for(image: Image.Image) -> Iterator[bool]:
    """Yields whether an image is huge. Huge ones are decoded one at a time; bombs raise."""
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
    """Returns an RGB image at least twice as large as `size`, made strip by strip."""
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
    # Asking every file for its EXIF costs as much as decoding a small one.
    if not any(holder in image.info for holder in _ORIENTATION_HOLDERS):
        return 1
    value: Any = image.getexif().get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return image
    image.getexif()[_ORIENTATION_TAG] = orientation  # a reduced image has lost it
    return ImageOps.exif_transpose(image)


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _check_levels(image: Image.Image) -> None:
    """Raises ValueError where colours of 12 bits lie in 16, of which Pillow keeps the upper 8."""
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
