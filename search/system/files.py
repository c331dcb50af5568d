"""Atomic writing of files and folders."""

import contextlib
import hashlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHECKED_BLOCKS = 64
_BLOCK_BYTES = 65536
_ABANDONED_AFTER_SECONDS = 86400.0


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path next to `path` and renames it to `path` if the body succeeds.

    The temporary name keeps the suffix, because Keras and matplotlib choose the format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Threads of one process may write the same file, such as the index of a cache.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = target.with_name(f".{target.stem}.{writer}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically, with the same line ends on every system.

    Bytes of file names that are not UTF-8 are escaped as in JSON, which reads them back.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `folder` and renames it to `folder` if the body succeeds.

    If another process was first, its equivalent folder is kept.
    """
    temporary = folder.with_name(f".writing-{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def discard_folder(folder: Path) -> None:
    """Removes a folder; renames it first, so that no process sees a partial one."""
    away = folder.with_name(f".damaged-{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):  # another process was first
        folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Removes temporary folders of killed processes from `parent` after a day."""
    limit = time.time() - _ABANDONED_AFTER_SECONDS
    for left in parent.glob(".*"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < limit:
                shutil.rmtree(left, ignore_errors=True)


def spot_digest(path: Path) -> str:
    """Returns a digest of a file's length and of blocks spread over it; reads small files whole."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    step = max(_BLOCK_BYTES, size // _CHECKED_BLOCKS)
    with path.open("rb") as file:
        for start in range(0, size, step):
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()
