"""Data sets in .zip archives, read in place without unpacking."""

from __future__ import annotations

import contextlib
import re
import stat
import zipfile
from collections.abc import Hashable
from pathlib import Path

from cnn_blocks.errors import UserError
from search.data.formats import is_image
from search.data.label_table import is_table
from search.data.names import shown
from search.data.tree import Node, Tree, join

_LARGEST_FILE = 1 << 30
_LARGEST_RATIO = 200
_HARMLESS_TOTAL = 1 << 30
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_UTF8 = 0x800
_DRIVE = re.compile(r"[A-Za-z]:")


class ZipTree(Tree):
    """The files of a .zip archive; a single folder around everything is skipped.

    Raises UserError if the archive is damaged, encrypted or a decompression bomb. Links and paths
    that lead out of the archive are left out with a note.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), f"zip\0{path.resolve()}")
        self._left_out: list[str] = []
        self._archive = _open(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._folders: dict[str, dict[str, Node]] = {"": {}}
        self._add_all(path)
        self._top = ""
        self._pass_over_wrappers()

    def read(self, path: str) -> bytes:
        member = self._members[join(self._top, path)]
        if member.file_size > _LARGEST_FILE:
            raise ValueError(f"{member.file_size:,} bytes exceed the limit of {_LARGEST_FILE:,}")
        return self._archive.read(member)

    def close(self) -> None:
        self._archive.close()

    def notes(self) -> list[str]:
        if not self._left_out:
            return super().notes()
        return [
            *super().notes(),
            f"{len(self._left_out)} links or paths that lead out of the archive were left out, "
            f"such as {shown(self._left_out[0])}.",
        ]

    def _entries(self, folder: str) -> list[Node]:
        return list(self._folders[join(self._top, folder) if folder else self._top].values())

    def _folder_key(self, folder: str) -> Hashable:
        return folder

    def _add_all(self, path: Path) -> None:
        for member in self._archive.infolist():
            name = _name(member)
            if name is None:
                self._left_out.append(member.filename)
            else:
                self._add(name, member)
        files = self._members.values()
        if any(member.flag_bits & _ENCRYPTED for member in files):
            raise UserError(
                f"A .zip data set must not be encrypted; {path} is. Fix: unpack it with its "
                "password and give the folder."
            )
        if any(member.compress_type not in _METHODS for member in files):
            raise UserError(
                f"A .zip data set must use deflate, bzip2 or LZMA; {path} uses another compression "
                "(as large archives from Windows do). Fix: unpack it and give the folder."
            )
        total = sum(member.file_size for member in files)
        packed = max(1, path.stat().st_size)
        if total > _HARMLESS_TOTAL and total > _LARGEST_RATIO * packed:
            raise UserError(
                f"A .zip data set may unpack to at most {_LARGEST_RATIO} times its size; {path} "
                f"holds {total:,} bytes in {packed:,}, {total // packed} times. Fix: if it is not "
                "a decompression bomb, unpack it and give the folder."
            )

    def _add(self, name: str, member: zipfile.ZipInfo) -> None:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        file = parts.pop() if parts and not name.endswith("/") else None
        folder = ""
        for part in parts:
            self._folders[folder][part] = Node(part, is_folder=True)
            folder = join(folder, part)
            self._folders.setdefault(folder, {})
        if file is not None and join(folder, file) not in self._folders:
            # The checksum replaces the time: it changes exactly when the content does.
            node = Node(file, is_folder=False, size=member.file_size, modified=member.CRC)
            self._folders[folder][file] = node
            self._members[join(folder, file)] = member

    def _pass_over_wrappers(self) -> None:
        while True:
            # A README next to the folder does not count.
            nodes = [node for node in self.scan() if node.is_folder or _is_content(node.name)]
            if len(nodes) != 1 or not nodes[0].is_folder:
                break
            # A folder with only images inside is a class, not a wrapper.
            inner = self.scan(nodes[0].name)
            if not any(node.is_folder or is_table(node.name) for node in inner):
                break
            self._top = join(self._top, nodes[0].name)
        if self._top:
            self.title = f"{self.title}/{self._top}"


def _is_content(name: str) -> bool:
    return is_image(name) or is_table(name)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UserError(
            f"A .zip data set must be a complete .zip archive; {path} cannot be read ({error}). "
            "Fix: download or pack it again."
        ) from error


def _name(member: zipfile.ZipInfo) -> str | None:
    """Returns a member's path; None if it is a link or leads out of the archive."""
    name = member.filename
    if not member.flag_bits & _UTF8:
        # macOS stores UTF-8 without setting the flag; zipfile then decodes the name as cp437.
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    name = name.replace("\\", "/")  # old Windows archivers
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if is_link or name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        return None
    return name
