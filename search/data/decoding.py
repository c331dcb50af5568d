"""Image files to uint8 RGB arrays, the same way for every format."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from search.data.dataset import Images
from search.data.formats import PILLOW_FORMATS

# Part of every cache key: raise it when the same file would give other pixels.
DECODING_VERSION = 1
LONGEST_DEFAULT_SIDE = 224

_ORIENTATION_HOLDERS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_ORIENTATION_TAG = 0x0112
_WHITE = (255, 255, 255, 255)


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Makes decompression bombs errors and silences Pillow's other warnings.

    Wraps a whole batch of files, outside its threads: warning filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def stored_size(content: bytes) -> tuple[int, int]:
    """Returns (height, width) of an image file as it is meant to be seen, from its header.

    Raises whatever Pillow raises where the content is no image of a supported format.
    """
    with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def decode(content: bytes, size: tuple[int, int]) -> Images:
    """Decodes an image file to uint8 RGB of shape (height, width, 3).

    The first frame counts; EXIF orientation is applied; transparency is laid on white; 16-bit grey
    keeps its upper eight bits; another size is stretched to `size`, antialiased.
    Raises whatever Pillow raises where the content is damaged, truncated or a decompression bomb.
    """
    with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
        # JPEG photos decode several times faster at a reduced scale; never below the target size.
        image.draft("", (max(size), max(size)))
        image.load()
        frame: Image.Image = image
        if _orientation(image) > 1:
            frame = ImageOps.exif_transpose(image)
        return np.asarray(_resized(_as_rgb(frame), size))


def resize(image: Images, size: tuple[int, int]) -> Images:
    """Stretches an RGB array (h, w, 3) to (height, width, 3), antialiased."""
    if image.shape[:2] == size:
        return image
    return np.asarray(_resized(Image.fromarray(image), size))


def default_size(height: int, width: int) -> tuple[int, int]:
    """Returns the size itself, or shrunk in proportion to a longest side of 224 pixels."""
    scale = min(1.0, LONGEST_DEFAULT_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _orientation(image: Image.Image) -> int:
    # Asking every file for its EXIF costs as much as decoding a small one.
    if not any(holder in image.info for holder in _ORIENTATION_HOLDERS):
        return 1
    value: Any = image.getexif().get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it to white
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC)
