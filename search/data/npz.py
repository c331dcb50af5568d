"""Loads arrays from an .npz file: x_train, y_train, x_val, y_val, x_test, y_test and synonyms."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from search.data.cache import Cache, Content, ImageEntry, PixelWriter
from search.data.decoding import DECODING_VERSION
from search.data.image_fit import Fit
from search.data.labelled_arrays import Part, class_texts, write_parts
from search.data.roles import ROLE_WORDS, ROLES, name_words

# Names of images and labels in other libraries and data sets; x and y alone are training data.
_KINDS = {
    **dict.fromkeys(("x", "image", "images", "data"), "images"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets"), "labels"),
}
# Part of the cache keys: increase it when the content of entries changes.
_ENTRY_VERSION = 2
_STANDARD = {
    "train": {"images": "x_train", "labels": "y_train"},
    "validation": {"images": "x_val", "labels": "y_val"},
    "test": {"images": "x_test", "labels": "y_test"},
}


def load_npz(
    path: Path, *, image_size: tuple[int, int] | None, fit: Fit, cache: Cache
) -> ImageEntry:
    """Returns the images of an .npz file; its optional array `class_names` names the classes.

    Never unpickles anything. Raises UserError if an array is missing or invalid.
    """
    # All images of a file have the same size, so without a new size `fit` changes nothing.
    resizing = None if image_size is None else [image_size, fit]
    head = json.dumps(["npz", DECODING_VERSION, _ENTRY_VERSION, resizing, _digest(path, cache)])
    key = hashlib.sha256(head.encode()).hexdigest()

    def fill(development: PixelWriter, test: PixelWriter) -> Content:
        arrays = _read(path)
        parts = {
            role: Part(arrays[images], arrays[labels], images, labels)
            for role, (images, labels) in _find_pairs(path, list(arrays)).items()
        }
        names = arrays.get("class_names")
        return write_parts(
            parts,
            {"train": development, "validation": development, "test": test},
            class_names=None
            if names is None
            else tuple(class_texts(names.ravel(), "class_names").tolist()),
            image_size=image_size,
            fit=fit,
        )

    return cache.fetch(key, fill)


def _digest(path: Path, cache: Cache) -> str:
    """Returns the SHA-256 of a file; reads it again only if its size or time has changed."""
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
            "Fix: write it with numpy.savez(path, x_train=..., y_train=...) from plain arrays."
        ) from error
    return arrays


def _find_pairs(path: Path, names: list[str]) -> dict[str, tuple[str, str]]:
    """Returns the names of each role's images and labels."""
    found: dict[str, dict[str, str]] = {role: {} for role in ROLES}
    meanings = {name: meaning for name in names if (meaning := _meaning(name)) is not None}
    if any(role is not None for role, _ in meanings.values()):
        # Next to x_train, arrays called images or labels may be anything.
        meanings = {name: meaning for name, meaning in meanings.items() if meaning[0] is not None}
    for name, (named_role, kind) in meanings.items():
        role = named_role or "train"
        if kind in found[role]:
            raise UserError(
                f"An .npz data set holds one array of {role} {kind}; {path} has "
                f"{found[role][kind]} and {name}. Fix: remove or rename one."
            )
        found[role][kind] = name
    for role, pair in found.items():
        missing = [name for kind, name in _STANDARD[role].items() if kind not in pair]
        if missing and (role == "train" or pair):
            raise UserError(
                "An .npz data set holds x_train and y_train (and optionally x_val, y_val and "
                "x_test, y_test), or train_images and train_labels and so on; "
                f"{path} lacks {' and '.join(missing)} and holds {', '.join(names) or 'nothing'}."
            )
    return {role: (pair["images"], pair["labels"]) for role, pair in found.items() if pair}


def _meaning(name: str) -> tuple[str | None, str] | None:
    """Returns (role, "images" or "labels") for x_train, train_images or trainX; x has no role."""
    words = name_words(name)
    roles = [ROLE_WORDS[word] for word in words if word in ROLE_WORDS]
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    if len(kinds) != 1 or len(roles) > 1 or len(words) != len(kinds) + len(roles):
        return None
    return roles[0] if roles else None, kinds[0]
