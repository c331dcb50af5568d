"""Reads hashes and headers of image files and stores them, so that only changes are read again."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.data import decoding
from search.data.cache import Cache
from search.data.listing import Listing
from search.data.threads import in_threads
from search.data.tree import Tree
from search.data.types import Indices

_UNREADABLE = decoding.Header(0, 0)


@dataclass(frozen=True)
class Inspection:
    """Hashes, sizes and value ranges of all listed files; unreadable files have height 0.

    `lows` and `highs` are the extreme values of greyscale with more than 8 bits, otherwise NaN.
    """

    hashes: NDArray[np.uint8]
    heights: Indices
    widths: Indices
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]


def inspect(tree: Tree, listing: Listing, cache: Cache) -> Inspection:
    """Hashes the files that are new or changed since the last run, and reads their headers."""
    identity = f"{tree.identity}\0{decoding.DECODING_VERSION}"
    joined = np.frombuffer(_encoded("\0".join(listing.paths)), dtype=np.uint8)
    sizes = np.array(listing.sizes, dtype=np.int64)
    modified = np.array(listing.modified, dtype=np.int64)
    count = len(listing.paths)
    known: dict[str, NDArray[Any]] = {
        "hashes": np.zeros((count, 32), dtype=np.uint8),
        "heights": np.zeros(count, dtype=np.int64),
        "widths": np.zeros(count, dtype=np.int64),
        "lows": np.full(count, np.nan),
        "highs": np.full(count, np.nan),
    }
    pending = np.ones(count, dtype=np.bool_)
    stored = cache.read_index(identity)
    if stored is not None:
        if np.array_equal(stored["paths"], joined):
            old_rows = new_rows = np.arange(count)
        else:
            before = {p: row for row, p in enumerate(stored["paths"].tobytes().split(b"\0"))}
            now = enumerate(map(_encoded, listing.paths))
            pairs = [(before[p], row) for row, p in now if p in before]
            old_rows, new_rows = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        # An unreadable file (height 0) may become readable without a new modification time.
        same = (
            (stored["sizes"][old_rows] == sizes[new_rows])
            & (stored["modified"][old_rows] == modified[new_rows])
            & (stored["heights"][old_rows] > 0)
        )
        old_rows, new_rows = old_rows[same], new_rows[same]
        for name, values in known.items():
            values[new_rows] = stored[name][old_rows]
        pending[new_rows] = False
        if not pending.any() and len(stored["sizes"]) == count:
            return Inspection(**known)
    rows = np.flatnonzero(pending & (sizes >= 0)).tolist()
    paths = [listing.paths[row] for row in rows]
    found = in_threads(lambda path: _inspect_file(tree, path), paths)
    for row, (digest, header) in zip(rows, found, strict=True):
        known["hashes"][row] = np.frombuffer(digest, dtype=np.uint8)
        known["heights"][row], known["widths"][row] = header.height, header.width
        known["lows"][row], known["highs"][row] = header.low, header.high
    cache.write_index(identity, {"paths": joined, "sizes": sizes, "modified": modified, **known})
    return Inspection(**known)


def _encoded(path: str) -> bytes:
    """Encodes a path in UTF-8, not in the file system's encoding: archives may hold any name."""
    return path.encode("utf-8", sys.getfilesystemencodeerrors())


def _inspect_file(tree: Tree, path: str) -> tuple[bytes, decoding.Header]:
    try:
        content = tree.read(path)
    except Exception:  # zipfile raises nearly anything on damaged content
        return bytes(32), _UNREADABLE
    digest = hashlib.sha256(content).digest()
    try:
        return digest, decoding.read_header(content)
    except Exception:  # Pillow raises nearly anything on damaged content
        return digest, _UNREADABLE
