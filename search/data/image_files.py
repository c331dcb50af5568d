"""Loads image files: hashes and decodes them once, then reads only changed files again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np

from cnn_blocks.errors import UserError
from search.data import decoding
from search.data.cache import Cache, Content, ImageEntry, PixelWriter
from search.data.decoding_settings import Decoding
from search.data.folder_layout import Layout
from search.data.formats import READABLE
from search.data.image_fit import Fit
from search.data.inspection import Inspection, inspect
from search.data.layout import list_images
from search.data.levels import Levels
from search.data.listing import Listing
from search.data.names import class_name_notes, enumerate_names, shown
from search.data.target import Target, choose_target
from search.data.threads import in_threads
from search.data.tree import Tree
from search.data.types import Images

_MISSING = "No such file or directory"


def load_image_files(
    tree: Tree,
    *,
    table: str | None = None,
    layout: Layout = "auto",
    image_size: tuple[int, int] | None,
    fit: Fit,
    levels: Levels | None = None,
    max_bad_files: float,
    cache: Cache,
) -> tuple[ImageEntry, tuple[str, ...]]:
    """Returns the decoded images of a tree and notes for the user.

    `table` is the path of the table that holds the labels; None searches for one. `layout` says
    whether folders are roles or classes. `levels` are the values of deep grey that become 0 and
    255; None lets the files decide.
    Raises UserError if the files follow no known pattern, there is only one class, a class has no
    training images, or more files than allowed cannot be read.
    """
    try:
        listing = list_images(tree, table, layout)
    except OSError as error:
        raise UserError(
            f"An image folder and its class folders must be readable; {error.filename} is not "
            f"({error.strerror}). Fix: change its permissions."
        ) from error
    with decoding.strict_decoding():
        inspection = inspect(tree, listing, cache)
        in_development = len(listing.paths) - listing.counts.get("test", 0)
        if not inspection.heights[:in_development].any():
            raise _unreadable(tree, listing)
        target = choose_target(inspection, in_development, image_size, fit, levels)
        entry = cache.fetch(
            _key(listing, inspection, target),
            lambda development, test: _decode_all(
                tree, listing, target.decoding, development, test
            ),
        )
    files = len(listing.paths)
    bad = [f"{shown(listing.paths[row])} ({reason})" for row, reason in entry.content.bad_files]
    _check_bad_files(bad, files, max_bad_files)
    notes = [
        *(*listing.notes, *class_name_notes(listing.class_names), *tree.notes(), *target.notes),
        *_class_notes(entry, listing),
    ]
    if bad:
        notes.append(
            f"{len(bad)} of {files} image files could not be read and were skipped: "
            f"{enumerate_names(bad)}."
        )
    return _described(entry, listing, target, in_development), tuple(notes)


def _described(
    entry: ImageEntry, listing: Listing, target: Target, in_development: int
) -> ImageEntry:
    """Adds to an entry what the cache does not store: the file paths and the levels."""
    unread = {row for row, _ in entry.content.bad_files}
    read = [row for row in range(len(listing.paths)) if row not in unread]
    arrays = replace(
        entry.arrays,
        development_files=tuple(listing.paths[row] for row in read if row < in_development),
        test_files=tuple(listing.paths[row] for row in read if row >= in_development),
    )
    content = replace(entry.content, levels=target.decoding.levels)
    return replace(entry, content=content, arrays=arrays)


def _unreadable(tree: Tree, listing: Listing) -> UserError:
    example = _decoded(tree, listing, 0, Decoding(size=(1, 1), fit="stretch"))
    reason = f" ({example})" if isinstance(example, str) else ""
    return UserError(
        f"A data set needs readable training images; none can be read, for example "
        f"{shown(listing.paths[0])}{reason}. Fix: check that they are {READABLE} images."
    )


def _key(listing: Listing, inspection: Inspection, target: Target) -> str:
    size, levels = target.decoding.size, target.decoding.levels
    head = [
        *(decoding.DECODING_VERSION, listing.class_names, listing.counts, size),
        *(levels.low, levels.high),
    ]
    if target.changes_shapes and target.decoding.fit != "stretch":
        head.append(target.decoding.fit)
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(np.array(listing.labels, dtype="<i8").tobytes())
    digest.update(inspection.hashes.tobytes())
    # An unchanged file becomes readable once a reader for its format is installed.
    digest.update((inspection.heights > 0).tobytes())
    return digest.hexdigest()


def _decode_all(
    tree: Tree,
    listing: Listing,
    settings: Decoding,
    development: PixelWriter,
    test: PixelWriter,
) -> Content:
    in_development = len(listing.paths) - listing.counts.get("test", 0)
    bad: list[tuple[int, str]] = []

    def decode_row(row: int) -> Images | str:
        return _decoded(tree, listing, row, settings)

    own_validation = 0
    for row, image in enumerate(in_threads(decode_row, range(len(listing.paths)))):
        if isinstance(image, str):
            bad.append((row, image))
        elif row < in_development:
            development.append(image, listing.labels[row])
            own_validation += row >= listing.counts["train"]
        else:
            test.append(image, listing.labels[row])
    if not development.labels:
        raise _unreadable(tree, listing)
    return Content(
        class_names=listing.class_names,
        image_shape=(*settings.size, 3),
        own_validation=own_validation,
        bad_files=tuple(bad),
    )


def _decoded(tree: Tree, listing: Listing, row: int, settings: Decoding) -> Images | str:
    """Returns a file's image, or the reason why it cannot be decoded."""
    if listing.sizes[row] < 0:
        return _MISSING
    try:
        return settings.decode(tree.read(listing.paths[row]))
    except Exception as error:  # Pillow raises nearly anything on damaged content
        return reason_of(error)


def reason_of(error: Exception) -> str:
    """Returns why an image file could not be read or decoded."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    # Pillow's text names the in-memory buffer, which means nothing to the user.
    return "not an image" if text.startswith("cannot identify") else text


def _check_bad_files(bad: list[str], files: int, max_bad_files: float) -> None:
    if len(bad) > max_bad_files * files:
        raise UserError(
            f"At most {max_bad_files:.3g} of the image files may be unreadable (--max-bad-files); "
            f"{len(bad)} of {files} are: {enumerate_names(bad, limit=20)}. "
            "Fix: repair or remove them, or raise the limit."
        )


def _class_notes(entry: ImageEntry, listing: Listing) -> list[str]:
    """Returns notes on classes missing from validation or test.

    Raises UserError if a class has no training images.
    """
    arrays = entry.arrays
    train = arrays.development_labels[: len(arrays.development_labels) - arrays.own_validation]
    parts = {"train": train}
    if "validation" in listing.counts:
        parts["validation"] = arrays.development_labels[len(train) :]
    if "test" in listing.counts and arrays.test_labels is not None:
        parts["test"] = arrays.test_labels
    notes = []
    for role, labels in parts.items():
        counts = np.bincount(labels, minlength=len(listing.class_names))
        empty = [f"'{listing.class_names[number]}'" for number in np.flatnonzero(counts == 0)]
        if empty and role == "train":
            raise UserError(
                f"Every class needs images; none of class {shown(empty[0])} in train can be read. "
                "Fix: repair its files or remove the class."
            )
        if empty:
            notes.append(f"The {role} images contain none of class {enumerate_names(empty)}.")
    return notes
