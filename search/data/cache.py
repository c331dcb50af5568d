"""The cache of decoded images: memory-mapped, written atomically, checked when opened.

An entry is a folder with raw uint8 pixels, labels and a description; its name is a key that the
caller derives from the content. Two processes that create the same entry at once both do the work,
and the first to finish wins. There are no locks, so a killed process cannot leave one behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.data.dataset import Arrays
from search.data.levels import SIXTEEN_BITS, Levels
from search.data.types import Images, Indices
from search.system.files import (
    discard_folder,
    remove_abandoned,
    spot_digest,
    whole_file,
    whole_folder,
)

FORMAT_VERSION = 1
_ATTEMPTS = 3


def default_cache_directory() -> Path:
    """Returns $CNN_SEARCH_CACHE, or cnn-search in the user's cache directory.

    A user without a home folder, as in many containers, gets a temporary folder.
    """
    return _lasting_cache() or _temporary_cache()


def cache_notes() -> list[str]:
    """Returns a note on the cache's location if the cache is temporary."""
    if _lasting_cache() is not None:
        return []
    return [
        f"this user has no home folder, so the cache is {_temporary_cache()}, which may be "
        f"deleted; set CNN_SEARCH_CACHE to use another folder"
    ]


def _lasting_cache() -> Path | None:
    named = os.environ.get("CNN_SEARCH_CACHE")
    if named:
        return user_path(named)
    windows = os.name == "nt"
    base = os.environ.get("LOCALAPPDATA" if windows else "XDG_CACHE_HOME")
    if base:
        return user_path(base) / "cnn-search"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("AppData/Local" if windows else ".cache") / "cnn-search"


def _temporary_cache() -> Path:
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    path = Path(tempfile.gettempdir()) / f"cnn-search{user}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Anybody can write to the temporary folder: do not trust another user's cache.
    if hasattr(os, "getuid") and path.lstat().st_uid != os.getuid():
        raise UserError(
            f"The cache must belong to this user; {path} belongs to another user. Fix: set "
            f"CNN_SEARCH_CACHE to a folder of your own."
        )
    return path


@dataclass(frozen=True)
class Content:
    """A reader's description of the images that it wrote.

    `own_validation` counts the validation images at the end of the development array; `bad_files`
    holds (position among the files, reason) of each unreadable file; `levels` are the values of
    greyscale with more than 8 bits that map to 0 and 255.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    own_validation: int = 0
    bad_files: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()
    levels: Levels = SIXTEEN_BITS


@dataclass(frozen=True, eq=False)
class ImageEntry:
    """Decoded images and the facts collected while decoding them."""

    content: Content
    fingerprint: str
    leaked_images: int
    arrays: Arrays


class PixelWriter:
    """Appends images to a file and collects their digests and labels."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.digests: list[bytes] = []
        self.labels: list[int] = []

    def append(self, image: Images, label: int) -> None:
        """Adds one uint8 image of the entry's shape."""
        pixels = np.ascontiguousarray(image)
        self._file.write(pixels.data)
        self.digests.append(hashlib.blake2b(pixels.data, digest_size=16).digest())
        self.labels.append(label)

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


Fill = Callable[[PixelWriter, PixelWriter], Content]


class Cache:
    """Image entries by key, and small indices by the identity of their source."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory or default_cache_directory()

    def fetch(self, key: str, fill: Fill) -> ImageEntry:
        """Returns an entry; `fill(development, test)` creates it if it is missing or damaged.

        Raises UserError if the cache directory is not writable or the new entry not readable.
        """
        folder = self.directory / "images" / key
        # Retry: another process that found the old entry damaged may discard our new one.
        for _ in range(_ATTEMPTS):
            try:
                existed = folder.exists()
                entry = self._read(folder)
                if entry is not None:
                    return entry
                folder.parent.mkdir(parents=True, exist_ok=True)
                if existed:
                    discard_folder(folder)
                remove_abandoned(folder.parent)
                self._write(folder, fill)
            except OSError as error:
                raise UserError(
                    f"The image cache must be writable; {self.directory} is not ({error}). "
                    "Fix: set CNN_SEARCH_CACHE to a writable directory with free space."
                ) from error
        entry = self._read(folder)
        if entry is None:
            raise UserError(
                f"The image cache must be readable; {folder} is not, just after it was written. "
                "Fix: check the disk, or set CNN_SEARCH_CACHE to another directory."
            )
        return entry

    def read_index(self, identity: str) -> dict[str, NDArray[Any]] | None:
        """Returns the arrays stored for a source; None if they are missing or damaged."""
        try:
            with np.load(self._index_path(identity), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None

    def write_index(self, identity: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Stores arrays for a source. Ignores write errors: the index only saves time later."""
        with (
            contextlib.suppress(OSError),
            whole_file(self._index_path(identity)) as temporary,
            temporary.open("wb") as file,
        ):
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def _index_path(self, identity: str) -> Path:
        digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
        return self.directory / "sources" / f"{digest}.npz"

    def _write(self, folder: Path, fill: Fill) -> None:
        with whole_folder(folder) as temporary:
            development = PixelWriter(temporary / "development.pixels")
            test = PixelWriter(temporary / "test.pixels")
            try:
                content = fill(development, test)
            finally:
                development.close()
                test.close()
            _describe(temporary, content, development, test)

    def _read(self, folder: Path) -> ImageEntry | None:
        try:
            description = json.loads((folder / "description.json").read_text("utf-8"))
            if description["format_version"] != FORMAT_VERSION:
                return None
            for name, check in description["checks"].items():
                if spot_digest(folder / name) != check:
                    return None
            content = _content(description["content"])
            with np.load(folder / "labels.npz", allow_pickle=False) as stored:
                labels = {name: stored[name] for name in stored.files}
            shape = content.image_shape
            has_test = len(labels["test_labels"]) > 0
            return ImageEntry(
                content=content,
                fingerprint=description["fingerprint"],
                leaked_images=description["leaked_images"],
                arrays=Arrays(
                    development=_map(folder / "development.pixels", shape),
                    development_labels=labels["development_labels"],
                    groups=labels["groups"],
                    own_validation=content.own_validation,
                    test=_map(folder / "test.pixels", shape) if has_test else None,
                    test_labels=labels["test_labels"] if has_test else None,
                ),
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None


def _content(stored: dict[str, Any]) -> Content:
    height, width, channels = stored["image_shape"]
    return Content(
        class_names=tuple(stored["class_names"]),
        image_shape=(height, width, channels),
        own_validation=stored["own_validation"],
        bad_files=tuple((position, reason) for position, reason in stored["bad_files"]),
        notes=tuple(stored["notes"]),
        # Entries of older versions have no levels; where levels matter, the keys have changed.
        levels=Levels(**stored["levels"]) if "levels" in stored else SIXTEEN_BITS,
    )


def _map(path: Path, shape: tuple[int, int, int]) -> Images:
    pixels = np.memmap(path, dtype=np.uint8, mode="r")
    # A plain array view: indexing a memmap object is several times slower.
    return np.asarray(pixels).reshape(-1, *shape)


def _first_rows(digests: list[bytes]) -> Indices:
    """Returns, for each digest, the first row with the same digest."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(d, row) for row, d in enumerate(digests)], dtype=np.int64)


def _describe(folder: Path, content: Content, development: PixelWriter, test: PixelWriter) -> None:
    groups = _first_rows(development.digests)
    known = set(development.digests)
    leaked = sum(digest in known for digest in test.digests)
    labels = {
        "development_labels": np.array(development.labels, dtype=np.int64),
        "groups": groups,
        "test_labels": np.array(test.labels, dtype=np.int64),
    }
    fingerprint = hashlib.sha256(
        json.dumps(
            [content.class_names, content.image_shape, content.own_validation, len(test.labels)]
        ).encode()
    )
    for part in (development, test):
        fingerprint.update(b"".join(part.digests))
    for array in labels.values():
        fingerprint.update(array.astype("<i8").tobytes())
    np.savez(folder / "labels.npz", **labels)  # type: ignore[arg-type]
    description = {
        "format_version": FORMAT_VERSION,
        "content": asdict(content),
        "fingerprint": fingerprint.hexdigest(),
        "leaked_images": leaked,
        "checks": {
            name: spot_digest(folder / name)
            for name in ("development.pixels", "test.pixels", "labels.npz")
        },
    }
    (folder / "description.json").write_text(json.dumps(description), "utf-8")
