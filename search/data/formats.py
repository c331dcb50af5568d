"""Which files are images: the formats that are read, and advice for those that are not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif"})
PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF")
READABLE = "PNG, JPEG, BMP, WebP or GIF"
_CONVERSIONS = {
    (".jp2", ".j2k", ".jpx", ".jpf"): "Convert JPEG 2000 to PNG, for example with "
    "`magick mogrify -format png *.jp2`.",
    (".dcm", ".dicom"): "Convert DICOM to PNG with the window that a radiologist would use, for "
    "example with pydicom's apply_voi_lut.",
}


def is_image(name: str) -> bool:
    """Returns whether a file's name has the suffix of an image that can be read."""
    return suffix_of(name) in SUFFIXES


def suffix_of(name: str) -> str:
    """Returns a file's suffix in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


def advice_for(suffixes: Iterable[str]) -> str:
    """Returns how to convert files of these suffixes; "" where there is nothing special to say."""
    present = set(suffixes)
    return " ".join(text for kinds, text in _CONVERSIONS.items() if present & set(kinds))
