"""Image folders: hashed and decoded once; later only what changed is read again."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from search.data import decoding
from search.data.cache import Cache, Content, Entry, PixelWriter
from search.data.dataset import Images, Indices
from search.data.listing import Listing, enumerate_names, list_folder
from search.data.threads import in_threads


@dataclass(frozen=True)
class Inspection:
    """What is known of every listed file without decoding it; unreadable ones have height 0."""

    hashes: NDArray[np.uint8]
    heights: Indices
    widths: Indices


def load_folder(
    root: Path, *, image_size: tuple[int, int] | None, max_bad_files: float, cache: Cache
) -> tuple[Entry, tuple[str, ...]]:
    """Returns the decoded images of a folder and notes for the user.

    Raises UserError where the folder is no image folder, a class is alone, empty or missing in a
    role, or more files than allowed cannot be read.
    """
    try:
        listing = list_folder(root)
    except OSError as error:
        raise UserError(
            f"An image folder and its class folders must be readable; {error.filename} is not "
            f"({error.strerror}). Change its permissions."
        ) from error
    with decoding.strict_decoding():
        inspection = _inspect(root, listing, cache)
        size, size_notes = _choose_size(listing, inspection, image_size)
        entry = cache.fetch(
            _key(listing, inspection, size),
            lambda development, test: _decode_all(root, listing, size, development, test),
        )
    files = len(listing.paths)
    bad = [f"{listing.paths[row]} ({reason})" for row, reason in entry.content.bad_files]
    _check_bad_files(bad, files, max_bad_files)
    _check_classes(entry, listing)
    notes = (*listing.notes, *size_notes)
    if bad:
        notes = (
            *notes,
            f"{len(bad)} of {files} image files could not be read and were skipped: "
            f"{enumerate_names(bad)}.",
        )
    return entry, notes


def _inspect(root: Path, listing: Listing, cache: Cache) -> Inspection:
    """Hashes the files that are new or changed since the last start, and reads their headers."""
    identity = f"folder\0{root.resolve()}\0{decoding.DECODING_VERSION}"
    joined = np.frombuffer(os.fsencode("\0".join(listing.paths)), dtype=np.uint8)
    sizes = np.array(listing.sizes, dtype=np.int64)
    modified = np.array(listing.modified, dtype=np.int64)
    count = len(listing.paths)
    hashes = np.zeros((count, 32), dtype=np.uint8)
    heights = np.zeros(count, dtype=np.int64)
    widths = np.zeros(count, dtype=np.int64)
    pending = np.ones(count, dtype=np.bool_)
    stored = cache.read_index(identity)
    if stored is not None:
        if np.array_equal(stored["paths"], joined):
            old_rows = new_rows = np.arange(count)
        else:
            known = {
                path: row
                for row, path in enumerate(os.fsdecode(stored["paths"].tobytes()).split("\0"))
            }
            pairs = [(known[p], row) for row, p in enumerate(listing.paths) if p in known]
            old_rows, new_rows = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        # A file that could not be read (height 0) may have become readable with its time unchanged.
        same = (
            (stored["sizes"][old_rows] == sizes[new_rows])
            & (stored["modified"][old_rows] == modified[new_rows])
            & (stored["heights"][old_rows] > 0)
        )
        old_rows, new_rows = old_rows[same], new_rows[same]
        hashes[new_rows] = stored["hashes"][old_rows]
        heights[new_rows] = stored["heights"][old_rows]
        widths[new_rows] = stored["widths"][old_rows]
        pending[new_rows] = False
        if not pending.any() and len(stored["sizes"]) == count:
            return Inspection(hashes, heights, widths)
    rows = np.flatnonzero(pending).tolist()
    files = [root / listing.paths[row] for row in rows]
    for row, (digest, height, width) in zip(rows, in_threads(_inspect_file, files), strict=True):
        hashes[row] = np.frombuffer(digest, dtype=np.uint8)
        heights[row], widths[row] = height, width
    cache.write_index(
        identity,
        {
            "paths": joined,
            "sizes": sizes,
            "modified": modified,
            "hashes": hashes,
            "heights": heights,
            "widths": widths,
        },
    )
    return Inspection(hashes, heights, widths)


def _inspect_file(path: Path) -> tuple[bytes, int, int]:
    try:
        content = path.read_bytes()
    except OSError:
        return bytes(32), 0, 0
    digest = hashlib.sha256(content).digest()
    try:
        return digest, *decoding.stored_size(content)
    except Exception:  # Pillow's readers raise nearly anything on damaged content
        return digest, 0, 0


def _choose_size(
    listing: Listing, inspection: Inspection, image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], list[str]]:
    pairs = np.stack([inspection.heights, inspection.widths], axis=1)
    readable = pairs[pairs[:, 0] > 0]
    development = pairs[: len(pairs) - listing.counts.get("test", 0)]
    development = development[development[:, 0] > 0]
    if not len(development):
        raise _unreadable(listing)
    sizes, counts = np.unique(development, axis=0, return_counts=True)
    if image_size is not None:
        size, origin = image_size, "as asked"
    else:
        # Of equally common sizes, the middle one by area.
        commonest = sizes[counts == counts.max()]
        order = np.argsort(commonest.prod(axis=1), kind="stable")
        height, width = (int(side) for side in commonest[order[len(order) // 2]])
        size = decoding.default_size(height, width)
        origin = "the commonest size"
        if size != (height, width):
            origin = f"the commonest size, {height}x{width}, shrunk to {max(size)} pixels"
    different = int((readable != size).any(axis=1).sum())
    if not different:
        return size, []
    return size, [
        f"{different} of {len(readable)} images were resized to {size[0]}x{size[1]} pixels "
        f"(height x width): {origin}. --image-size chooses another size."
    ]


def _unreadable(listing: Listing) -> UserError:
    return UserError(
        f"A data set needs readable training images; none can be read, for example "
        f"{listing.paths[0]}. Check that they are PNG, JPEG, BMP, WebP or GIF images."
    )


def _key(listing: Listing, inspection: Inspection, size: tuple[int, int]) -> str:
    head = [decoding.DECODING_VERSION, listing.class_names, listing.counts, size]
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(np.array(listing.labels, dtype="<i8").tobytes())
    digest.update(inspection.hashes.tobytes())
    return digest.hexdigest()


def _decode_all(
    root: Path,
    listing: Listing,
    size: tuple[int, int],
    development: PixelWriter,
    test: PixelWriter,
) -> Content:
    def decode_file(path: str) -> Images | str:
        try:
            return decoding.decode((root / path).read_bytes(), size)
        except Exception as error:  # Pillow's readers raise nearly anything on damaged content
            return _reason(error)

    in_development = len(listing.paths) - listing.counts.get("test", 0)
    bad: list[tuple[int, str]] = []
    own_validation = 0
    for row, image in enumerate(in_threads(decode_file, listing.paths)):
        if isinstance(image, str):
            bad.append((row, image))
        elif row < in_development:
            development.append(image, listing.labels[row])
            own_validation += row >= listing.counts["train"]
        else:
            test.append(image, listing.labels[row])
    if not development.labels:
        raise _unreadable(listing)
    return Content(
        class_names=listing.class_names,
        image_shape=(*size, 3),
        own_validation=own_validation,
        bad_files=tuple(bad),
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    # Pillow names the memory buffer that we hand it: of no use to anyone.
    return "not an image" if text.startswith("cannot identify") else text


def _check_bad_files(bad: list[str], files: int, max_bad_files: float) -> None:
    if len(bad) > max_bad_files * files:
        raise UserError(
            f"At most {max_bad_files:.3g} of the image files may be unreadable (--max-bad-files); "
            f"{len(bad)} of {files} are: {enumerate_names(bad, limit=20)}. "
            "Mend or remove them, or raise the limit."
        )


def _check_classes(entry: Entry, listing: Listing) -> None:
    arrays = entry.arrays
    train = arrays.development_labels[: len(arrays.development_labels) - arrays.own_validation]
    parts = {"train": train}
    if "validation" in listing.counts:
        parts["validation"] = arrays.development_labels[len(train) :]
    if "test" in listing.counts:
        parts["test"] = arrays.test_labels if arrays.test_labels is not None else train[:0]
    for role, labels in parts.items():
        counts = np.bincount(labels, minlength=len(listing.class_names))
        if not counts.all():
            name = listing.class_names[int(np.argmin(counts))]
            raise UserError(
                f"Every class needs images; none of class '{name}' in {role} can be read. "
                "Mend its files or remove the class."
            )
