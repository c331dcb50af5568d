"""The cache of frozen backbones' features: memory-mapped, written atomically, bounded in size.

An entry is a folder with the features as raw float16 and a description. Its name is a hash of
everything the features depend on. A process holds a lock while it computes an entry, so that the
others wait for it; the operating system releases the lock of a process that dies.
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
    """Features cannot be cached; the message says why. Training on images still works."""


@dataclass(frozen=True, eq=False)
class FeatureEntry:
    """Features of some images (N, ...), and the number of parameters of their backbone."""

    features: Features
    parameters: int


@dataclass(frozen=True)
class Computation:
    """Features to compute: their shape (N, ...) and an iterable of their batches in order."""

    shape: tuple[int, ...]
    parameters: int
    batches: Iterable[Features]

    @property
    def bytes(self) -> int:
        """The size of the features in the cache."""
        return math.prod(self.shape) * _BYTES


class FeatureCache:
    """Entries by key, at most `limit` bytes in total; the least recently used are removed first."""

    def __init__(self, directory: Path | None = None, *, limit: int | None = None) -> None:
        self.directory = (directory or default_cache_directory()) / "features"
        self.limit = DEFAULT_LIMIT if limit is None else limit

    def fetch(
        self, key: str, compute: Callable[[], Computation], *, waiting: Callable[[], None]
    ) -> FeatureEntry:
        """Returns an entry; computes it if it is missing or damaged.

        `waiting` is called regularly while another process computes; it may raise.
        Raises FeaturesUnavailableError if there is not enough space or the features are not finite.
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
        """Marks an entry as recently used."""
        with contextlib.suppress(OSError):
            os.utime(self.directory / key / _DESCRIPTION)

    def open(self, key: str) -> FeatureEntry | None:
        """Returns an entry, or None if it is missing or damaged."""
        folder = self.directory / key
        try:
            description = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
            if spot_digest(folder / _FEATURES) != description["digest"]:
                return None
            # A plain array view, because indexing a memmap object is several times slower.
            features = np.asarray(np.memmap(folder / _FEATURES, dtype=np.float16, mode="r"))
            entry = FeatureEntry(
                features.reshape(description["shape"]), int(description["parameters"])
            )
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
        """Yields each entry's folder, time of last use, and size in bytes."""
        for description in self.directory.glob(f"*/{_DESCRIPTION}"):
            with contextlib.suppress(OSError):  # another process may have removed it
                size = (description.parent / _FEATURES).stat().st_size
                yield description.parent, description.stat().st_mtime, size


def megabytes(size: int) -> str:
    """Formats a number of bytes in MiB."""
    return f"{size / 2**20:,.1f} MiB"
