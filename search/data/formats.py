"""Supported image formats, and advice on converting others."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable

SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".mpo"),
    }
)
READABLE = "PNG, JPEG, BMP, WebP, GIF, TIFF, PPM, AVIF or HEIC"

_PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF", "TIFF", "PPM", "AVIF")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_CONTAINER_BRANDS = (b"mif1", b"msf1")  # of HEIC and AVIF
_CONVERSIONS = {
    (".jp2", ".j2k", ".jpx", ".jpf"): "Fix: convert JPEG 2000 to PNG, for example with "
    "`magick mogrify -format png *.jp2`.",
    (".dcm", ".dicom"): "Fix: convert DICOM to PNG with a suitable window, for example with "
    "pydicom's apply_voi_lut.",
    (".svg", ".tga", ".psd", ".cr2", ".nef", ".arw", ".dng", ".raf"): "Fix: convert the images to "
    "PNG, for example with ImageMagick.",
    (".nii", ".mha", ".mhd"): "Fix: convert slices of volumes to PNG.",
    (".mp4", ".avi", ".mov", ".mkv"): "Fix: extract frames as images, for example with ffmpeg.",
    (".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zip"): "Fix: unpack "
    "archives and give the folder.",
    (".npy",): "Fix: pack the arrays into one .npz: "
    "numpy.savez('data.npz', x_train=..., y_train=...).",
    (".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".pt", ".tfrecord", ".parquet", ".arrow"): "Fix: "
    "save the arrays with numpy.savez('data.npz', x_train=..., y_train=...), or the images with "
    "one folder per class.",
    (".xlsx", ".xls", ".ods", ".json", ".jsonl"): "Fix: if a table holds the labels, save it as "
    "labels.csv: file name, label.",
}


def is_image(name: str) -> bool:
    """Returns whether a file name has the suffix of a supported image format."""
    return suffix_of(name) in SUFFIXES


def suffix_of(name: str) -> str:
    """Returns a file's suffix in lower case, with the dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each file is slow


def advice_for(suffixes: Iterable[str]) -> str:
    """Returns how to convert files with these suffixes; "" if there is no specific advice."""
    present = set(suffixes)
    return " ".join(text for kinds, text in _CONVERSIONS.items() if present & set(kinds))


def pillow_formats(content: bytes) -> tuple[str, ...]:
    """Returns the formats that Pillow may try on an image file.

    Raises ValueError if it is HEIC and pillow-heif is not installed.
    """
    if not _is_heic(content):
        return _PILLOW_FORMATS
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise ValueError("HEIC needs `pip install pillow-heif`") from error
    return ("HEIF",)


def _is_heic(content: bytes) -> bool:
    brand = content[8:12]
    return content[4:8] == b"ftyp" and (
        brand in _HEIC_BRANDS or (brand in _CONTAINER_BRANDS and b"avif" not in content[12:64])
    )
