"""Files and folders that appear whole or not at all."""

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
    """Yields a temporary path beside `path` and renames it to `path` when the body succeeds.

    The temporary name keeps the suffix, because Keras and matplotlib choose the format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Threads of one process may write the same file, as the index of a cache.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = target.with_name(f".{target.stem}.{writer}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a whole UTF-8 text file, with the same line ends on every system.

    Bytes of a file's name that are not UTF-8 are escaped as in JSON, which reads them back.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `folder` and renames it to `folder` when the body succeeds.

    Where another process was first, its folder stays: it is as good.
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
    """Removes a folder; moved away first, so that nobody sees half of it."""
    away = folder.with_name(f".damaged-{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):  # another process was first
        folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Removes what killed processes left of whole folders below `parent`."""
    limit = time.time() - _ABANDONED_AFTER_SECONDS
    for left in parent.glob(".*"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < limit:
                shutil.rmtree(left, ignore_errors=True)


def spot_digest(path: Path) -> str:
    """Returns a digest of a file's length and of blocks spread over it: small files whole."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    step = max(_BLOCK_BYTES, size // _CHECKED_BLOCKS)
    with path.open("rb") as file:
        for start in range(0, size, step):
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()
