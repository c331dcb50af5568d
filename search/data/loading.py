"""From what a user types after --data to a data set."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path

import numpy as np

from cnn_blocks.errors import UserError
from search.data.archive import ZipTree
from search.data.balance import imbalance_notes
from search.data.cache import Cache, Entry
from search.data.dataset import Dataset, Indices
from search.data.image_files import load_image_files
from search.data.label_table import is_table
from search.data.named import NAMED_DATA, load_named
from search.data.npz import load_npz
from search.data.tree import FolderTree, Tree

_TREE_FILES = (".zip", ".csv", ".tsv")


def load_data(
    source: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    max_bad_files: float = 0.01,
    cache_directory: Path | None = None,
) -> Dataset:
    """Loads a named data set, an image folder, a .zip or an .npz file, decoded once and cached.

    `image_size` is the side of a square or (height, width) in pixels; None keeps the commonest
    size, shrunk to 224 pixels. `max_bad_files` is the fraction of unreadable files that may be
    skipped. The cache lies in `cache_directory`, $CNN_SEARCH_CACHE or the user's cache directory.
    Raises UserError where the source cannot be used as it is.
    """
    size = _size(image_size)
    if not 0 <= max_bad_files <= 1:
        raise UserError(
            f"--max-bad-files is a fraction from 0 to 1; received {max_bad_files}. "
            "For 1%, give 0.01."
        )
    cache = Cache(cache_directory)
    path = Path(source).expanduser()
    notes: tuple[str, ...] = ()
    if isinstance(source, str) and source in NAMED_DATA:
        name = source
        entry = load_named(source, image_size=size, cache=cache)
    elif path.suffix.lower() == ".npz" and path.is_file():
        name = path.stem
        entry = load_npz(path, image_size=size, cache=cache)
    elif path.is_dir() or (path.suffix.lower() in _TREE_FILES and path.is_file()):
        name = path.resolve().name if path.is_dir() else path.stem
        tree, table = _open_tree(path)
        with contextlib.closing(tree):
            entry, notes = load_image_files(
                tree, table=table, image_size=size, max_bad_files=max_bad_files, cache=cache
            )
    else:
        raise UserError(_unknown(str(source), path))
    return Dataset(
        name=name,
        source=str(source),
        class_names=entry.content.class_names,
        fingerprint=entry.fingerprint,
        image_shape=entry.content.image_shape,
        notes=(
            *notes,
            *entry.content.notes,
            *_duplicate_notes(entry),
            *imbalance_notes(_class_counts(entry), entry.content.class_names),
        ),
        leaked_images=entry.leaked_images,
        arrays=entry.arrays,
    )


def _open_tree(path: Path) -> tuple[Tree, str | None]:
    """Returns the files that a path means, and the table that holds their labels if it is one."""
    if path.is_dir():
        return FolderTree(path), None
    if is_table(path.name):
        return FolderTree(path.parent), path.name
    return ZipTree(path), None


def data_sources() -> list[tuple[str, str]]:
    """Returns (name, description) of everything that `load_data` takes."""
    named = [(data.name, data.description) for data in NAMED_DATA.values()]
    return [
        *named,
        (
            "<folder>",
            "image folder: train/ [val/] test/ with a folder a class, a folder a class, or images "
            "with a table of labels (labels.csv or train.csv: file name, label)",
        ),
        ("<table>.csv", "images below the table's folder: file name, label and, if any, split"),
        ("<file>.zip", "a .zip archive of an image folder, read without unpacking it"),
        (
            "<file>.npz",
            "arrays x_train, y_train and, if there are any, x_val, y_val, x_test, y_test (or "
            "train_images, train_labels, ...)",
        ),
    ]


def _size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise UserError(
            f"--image-size is a number of pixels or height and width; received {image_size}. "
            "For example, 64."
        )
    return size


def _unknown(source: str, path: Path) -> str:
    names = ", ".join(NAMED_DATA)
    expected = f"Expected one of {names}, an image folder, a .zip, .csv or .npz file."
    if path.is_file():
        return f"--data takes no {path.suffix or 'plain'} file; received {source}. {expected}"
    close = difflib.get_close_matches(source, NAMED_DATA, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"There is no data set, folder or file '{source}'.{hint} {expected}"


def _class_counts(entry: Entry) -> Indices:
    """Returns the images of each class, all roles together."""
    arrays = entry.arrays
    labels = [arrays.development_labels]
    if arrays.test_labels is not None:
        labels.append(arrays.test_labels)
    classes = len(entry.content.class_names)
    return np.bincount(np.concatenate(labels), minlength=classes).astype(np.int64, copy=False)


def _duplicate_notes(entry: Entry) -> list[str]:
    """Says where identical pixels stand in two roles, or under two labels."""
    arrays = entry.arrays
    notes = []
    if entry.leaked_images and arrays.test is not None:
        notes.append(
            f"{entry.leaked_images} of {len(arrays.test)} test images also stand, pixel for pixel, "
            "among the training or validation images: the test result flatters."
        )
    train = len(arrays.development) - arrays.own_validation
    shared = int((arrays.groups[train:] < train).sum())
    if shared:
        notes.append(
            f"{shared} of {arrays.own_validation} validation images also stand, pixel for pixel, "
            "among the training images."
        )
    labels = arrays.development_labels
    contradicting = int(np.count_nonzero(labels != labels[arrays.groups]))
    if contradicting:
        notes.append(f"{contradicting} images repeat another image's pixels under another class.")
    return notes
