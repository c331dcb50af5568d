"""The cache of frozen backbones' features: memory-mapped, written atomically, bounded in size.

An entry is a folder named by a key that stands for all that the features depend on; it holds them
as raw float16 and a description. Whoever makes an entry holds a lock meanwhile, so that one process
computes and the others wait; the system frees the lock of a process that dies.
"""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.data.cache import default_cache_directory
from search.system.files import discard_folder, remove_abandoned, spot_digest, whole_folder
from search.system.locks import one_at_a_time

Features = npt.NDArray[np.float16]

DEFAULT_LIMIT = 20 * 2**30
_DESCRIPTION = "description.json"
_FEATURES = "features.float16"
_BYTES = np.dtype(np.float16).itemsize


class FeaturesUnavailableError(Exception):
    """Features cannot be kept; the message says why. Training on images is always possible."""


@dataclass(frozen=True, eq=False)
class Entry:
    """Features of some images (N, ...), and the parameters of the backbone that made them."""

    features: Features
    parameters: int


@dataclass(frozen=True)
class Computation:
    """Features about to be computed: their shape (N, ...), and batches of them in order."""

    shape: tuple[int, ...]
    parameters: int
    batches: Iterable[Features]

    @property
    def bytes(self) -> int:
        """The size of the features in the cache."""
        return math.prod(self.shape) * _BYTES


class FeatureCache:
    """Entries by key, at most `limit` bytes of them together: the longest unused go first."""

    def __init__(self, directory: Path | None = None, *, limit: int | None = None) -> None:
        self.directory = (directory or default_cache_directory()) / "features"
        self.limit = DEFAULT_LIMIT if limit is None else limit

    def fetch(
        self, key: str, compute: Callable[[], Computation], *, waiting: Callable[[], None]
    ) -> Entry:
        """Returns an entry, computed where it is missing or damaged.

        `waiting` is called now and then while another process computes; it may raise.
        Raises FeaturesUnavailableError where there is no room, or the features are not finite.
        """
        folder = self.directory / key
        try:
            entry = self.open(key)
            if entry is not None:
                return entry
            self.directory.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(self.directory / "lock", waiting):
                entry = self.open(key)
                if entry is None:
                    self._make(folder, compute())
                    entry = self.open(key)
        except OSError as error:
            raise FeaturesUnavailableError(
                f"the cache {self.directory} cannot be used: {error}"
            ) from error
        if entry is None:
            raise FeaturesUnavailableError(f"{folder} cannot be read just after it was written")
        return entry

    def touch(self, key: str) -> None:
        """Marks an entry as used just now."""
        with contextlib.suppress(OSError):
            os.utime(self.directory / key / _DESCRIPTION)

    def open(self, key: str) -> Entry | None:
        """Returns an entry; None where it is missing or damaged."""
        folder = self.directory / key
        try:
            description = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
            if spot_digest(folder / _FEATURES) != description["digest"]:
                return None
            # A plain view: indexing a memmap object costs several times as much.
            features = np.asarray(np.memmap(folder / _FEATURES, dtype=np.float16, mode="r"))
            entry = Entry(features.reshape(description["shape"]), int(description["parameters"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self.touch(key)
        return entry

    def _make(self, folder: Path, computation: Computation) -> None:
        if folder.exists():
            discard_folder(folder)
        remove_abandoned(self.directory)
        self._make_room(computation.bytes)
        with whole_folder(folder) as temporary:
            with (temporary / _FEATURES).open("wb") as file:
                for batch in computation.batches:
                    file.write(np.ascontiguousarray(batch).data)
                file.flush()
                os.fsync(file.fileno())
            description: dict[str, Any] = {
                "shape": computation.shape,
                "parameters": computation.parameters,
                "digest": spot_digest(temporary / _FEATURES),
            }
            (temporary / _DESCRIPTION).write_text(json.dumps(description), "utf-8")

    def _make_room(self, needed: int) -> None:
        if needed > self.limit:
            raise FeaturesUnavailableError(
                f"they need {megabytes(needed)}, and --cache-limit is {megabytes(self.limit)}"
            )
        entries = sorted(self._entries(), key=lambda entry: entry[1])
        held = sum(size for _, _, size in entries)
        for folder, _, size in entries:
            if held + needed <= self.limit:
                break
            discard_folder(folder)
            held -= size
        free = shutil.disk_usage(self.directory).free
        if needed > free:
            raise FeaturesUnavailableError(
                f"they need {megabytes(needed)}, and {self.directory} has {megabytes(free)} left"
            )

    def _entries(self) -> Iterator[tuple[Path, float, int]]:
        """Yields each entry's folder, the time of its last use, and its bytes."""
        for description in self.directory.glob(f"*/{_DESCRIPTION}"):
            with contextlib.suppress(OSError):  # another process was first
                size = (description.parent / _FEATURES).stat().st_size
                yield description.parent, description.stat().st_mtime, size


def megabytes(size: int) -> str:
    """Returns a number of bytes in words."""
    return f"{size / 2**20:,.1f} MiB"
