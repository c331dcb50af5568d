"""What is known of image files before they are decoded; kept, so that only changes are read."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data import decoding
from search.data.cache import Cache
from search.data.dataset import Indices
from search.data.listing import Listing
from search.data.threads import in_threads
from search.data.tree import Tree


@dataclass(frozen=True)
class Inspection:
    """What is known of every listed file without decoding it; unreadable ones have height 0."""

    hashes: NDArray[np.uint8]
    heights: Indices
    widths: Indices


def inspect(tree: Tree, listing: Listing, cache: Cache) -> Inspection:
    """Hashes the files that are new or changed since the last start, and reads their headers."""
    identity = f"{tree.identity}\0{decoding.DECODING_VERSION}"
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
    rows = np.flatnonzero(pending & (sizes >= 0)).tolist()
    paths = [listing.paths[row] for row in rows]
    found = in_threads(lambda path: _inspect_file(tree, path), paths)
    for row, (digest, height, width) in zip(rows, found, strict=True):
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


def _inspect_file(tree: Tree, path: str) -> tuple[bytes, int, int]:
    try:
        content = tree.read(path)
    except Exception:  # zipfile's readers raise nearly anything on damaged content, too
        return bytes(32), 0, 0
    digest = hashlib.sha256(content).digest()
    try:
        return digest, *decoding.stored_size(content)
    except Exception:  # Pillow's readers raise nearly anything on damaged content
        return digest, 0, 0
