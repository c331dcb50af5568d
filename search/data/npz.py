"""Arrays in an .npz file: x_train, y_train and, if there are any, x_val, y_val, x_test, y_test."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from search.data.cache import Cache, Content, Entry, PixelWriter
from search.data.decoding import DECODING_VERSION
from search.data.labelled_arrays import Part, write_parts

_KEYS = {
    "train": ("x_train", "y_train"),
    "validation": ("x_val", "y_val"),
    "test": ("x_test", "y_test"),
}


def load_npz(path: Path, *, image_size: tuple[int, int] | None, cache: Cache) -> Entry:
    """Returns the images of an .npz file; `class_names` in it names the classes.

    Nothing in the file is ever unpickled. Raises UserError where an array is missing or illegal.
    """
    head = json.dumps(["npz", DECODING_VERSION, image_size, _digest(path, cache)])
    key = hashlib.sha256(head.encode()).hexdigest()

    def fill(development: PixelWriter, test: PixelWriter) -> Content:
        arrays = _read(path)
        parts = {
            role: Part(arrays[images], arrays[labels], images, labels)
            for role, (images, labels) in _KEYS.items()
            if images in arrays
        }
        names = arrays.get("class_names")
        return write_parts(
            parts,
            {"train": development, "validation": development, "test": test},
            class_names=None if names is None else tuple(str(name) for name in names.ravel()),
            image_size=image_size,
        )

    return cache.fetch(key, fill)


def _digest(path: Path, cache: Cache) -> str:
    """Returns the SHA-256 of a file, read again only if its size or time has changed."""
    status = path.stat()
    current = np.array([status.st_size, status.st_mtime_ns], dtype=np.int64)
    identity = f"npz\0{path.resolve()}"
    stored = cache.read_index(identity)
    if stored is not None and np.array_equal(stored["status"], current):
        return str(stored["digest"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    cache.write_index(identity, {"status": current, "digest": np.array(digest)})
    return digest


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name]) for name in stored.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"An .npz data set must be readable without pickle; {path} is not ({error}). "
            "Write it with numpy.savez(path, x_train=..., y_train=...) from plain arrays."
        ) from error
    for role, names in _KEYS.items():
        missing = [name for name in names if name not in arrays]
        if missing and (role == "train" or len(missing) == 1):
            raise UserError(
                f"An .npz data set holds x_train and y_train (and pairs x_val, y_val and x_test, "
                f"y_test if there are any); {path} lacks {' and '.join(missing)} and holds "
                f"{', '.join(arrays) or 'nothing'}."
            )
    return arrays
