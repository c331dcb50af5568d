"""Loads the data set that the user gives as --data."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.data.archive import ZipTree
from search.data.balance import imbalance_notes
from search.data.cache import Cache, ImageEntry, cache_notes
from search.data.dataset import Dataset
from search.data.decoding_settings import Decoding
from search.data.folder_layout import Layout
from search.data.formats import advice_for
from search.data.image_files import load_image_files
from search.data.image_fit import DEFAULT_FIT, Fit
from search.data.levels import Levels
from search.data.named import NAMED_DATA, load_named
from search.data.npz import load_npz
from search.data.tree import FolderTree, Tree
from search.data.types import Indices

_TABLES = (".csv", ".tsv", ".txt")
_TREE_FILES = (".zip", *_TABLES)


def load_data(
    source: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    fit: Fit | None = None,
    levels: Levels | None = None,
    max_bad_files: float = 0.01,
    layout: Layout = "auto",
    cache_directory: Path | None = None,
) -> Dataset:
    """Loads a named data set, an image folder, a .zip, a label table or an .npz file.

    Images are decoded once and cached in `cache_directory`, $CNN_SEARCH_CACHE or the user's cache
    directory. `image_size` is the side of a square or (height, width) in pixels; None uses the
    most common size, shrunk to 224 pixels, or a square if shapes vary. `fit` says how images with
    another aspect ratio are fitted; None is the default. `levels` are the values of grey image
    files with more than 8 bits that become 0 and 255; None lets the files decide. `max_bad_files`
    is the fraction of unreadable files that may be skipped. `layout` says whether folders are roles
    or classes if their names are ambiguous.
    Raises UserError if the source cannot be used.
    """
    size, fit = _size(image_size), fit or DEFAULT_FIT
    _check_one_of("--fit", fit, get_args(Fit))
    _check_one_of("--layout", layout, get_args(Layout))
    if not 0 <= max_bad_files <= 1:
        raise UserError(
            f"--max-bad-files is a fraction from 0 to 1; received {max_bad_files}. "
            "Fix: for 1%, give 0.01."
        )
    cache = Cache(cache_directory)
    path = user_path(source)
    notes: tuple[str, ...] = ()
    where = cache_notes() if cache_directory is None else []
    if isinstance(source, str) and source in NAMED_DATA:
        name = source
        entry = load_named(source, image_size=size, fit=fit, cache=cache)
    elif path.suffix.lower() == ".npz" and path.is_file():
        name = path.stem
        entry = load_npz(path, image_size=size, fit=fit, cache=cache)
    elif path.is_dir() or (path.suffix.lower() in _TREE_FILES and path.is_file()):
        name = path.resolve().name if path.is_dir() else path.stem
        tree, table = _open_tree(path)
        with contextlib.closing(tree):
            entry, notes = load_image_files(
                tree,
                table=table,
                layout=layout,
                image_size=size,
                fit=fit,
                levels=levels,
                max_bad_files=max_bad_files,
                cache=cache,
            )
    else:
        raise UserError(_unknown(str(source), path))
    return Dataset(
        name=name,
        source=str(source),
        class_names=entry.content.class_names,
        fingerprint=entry.fingerprint,
        image_shape=entry.content.image_shape,
        decoding=Decoding(size=entry.content.image_shape[:2], fit=fit, levels=entry.content.levels),
        notes=(
            *where,
            *notes,
            *entry.content.notes,
            *_duplicate_notes(entry),
            *imbalance_notes(_class_counts(entry), entry.content.class_names),
        ),
        leaked_images=entry.leaked_images,
        arrays=entry.arrays,
        layout=layout,
    )


def _open_tree(path: Path) -> tuple[Tree, str | None]:
    """Returns the files of a path, and the label table if the path is one."""
    if path.is_dir():
        return FolderTree(path), None
    if path.suffix.lower() in _TABLES:
        return FolderTree(path.parent), path.name
    return ZipTree(path), None


def data_sources() -> list[tuple[str, str]]:
    """Returns (name, description) of everything that `load_data` accepts."""
    named = [(data.name, data.description) for data in NAMED_DATA.values()]
    return [
        *named,
        (
            "<folder>",
            "image folder: train/ [val/] test/ with one folder per class, one folder per class, or "
            "images with a label table (labels.csv or train.csv: file name, label)",
        ),
        ("<table>.csv", "images below the table's folder: file name, label, optionally split"),
        ("<file>.zip", "a .zip archive of an image folder, read without unpacking it"),
        (
            "<file>.npz",
            "arrays x_train, y_train, optionally x_val, y_val, x_test, y_test (or train_images, "
            "train_labels, ...)",
        ),
    ]


def _size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise UserError(
            f"--image-size is a number of pixels or a height and a width; received {image_size}. "
            "Fix: give, for example, 64."
        )
    return size


def _check_one_of(option: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(f"{option} must be one of {', '.join(allowed)}; received {value!r}.")


def _unknown(source: str, path: Path) -> str:
    names = ", ".join(NAMED_DATA)
    expected = f"Expected one of {names}, an image folder, a .zip, .csv or .npz file."
    if path.is_file():
        advice = advice_for([path.suffix.lower()])
        taken = f"--data takes no {path.suffix or 'plain'} file; received {source}. {expected}"
        return f"{taken} {advice}" if advice else taken
    if "://" in source:
        return f"--data takes no URL; received {source}. {expected} Fix: download it first."
    close = difflib.get_close_matches(source, NAMED_DATA, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"There is no data set, folder or file '{source}'.{hint} {expected}"


def _class_counts(entry: ImageEntry) -> Indices:
    """Returns the number of images per class over all roles."""
    arrays = entry.arrays
    labels = [arrays.development_labels]
    if arrays.test_labels is not None:
        labels.append(arrays.test_labels)
    classes = len(entry.content.class_names)
    return np.bincount(np.concatenate(labels), minlength=classes).astype(np.int64, copy=False)


def _duplicate_notes(entry: ImageEntry) -> list[str]:
    """Returns notes on images with identical pixels in two roles or under two labels."""
    arrays = entry.arrays
    notes = []
    if entry.leaked_images and arrays.test is not None:
        notes.append(
            f"{entry.leaked_images} of {len(arrays.test)} test images also occur, pixel for pixel, "
            "among the training or validation images: the test result is too optimistic."
        )
    train = len(arrays.development) - arrays.own_validation
    shared = int((arrays.groups[train:] < train).sum())
    if shared:
        notes.append(
            f"{shared} of {arrays.own_validation} validation images also occur, pixel for pixel, "
            "among the training images."
        )
    labels = arrays.development_labels
    contradicting = int(np.count_nonzero(labels != labels[arrays.groups]))
    if contradicting:
        notes.append(f"{contradicting} images are identical to an image of another class.")
    return notes
