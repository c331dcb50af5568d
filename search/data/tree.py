"""The files of a data set, in a folder or a .zip archive, behind one interface."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from search.data.leftovers import is_leftover
from search.data.names import enumerate_names, shown


class Node(NamedTuple):
    """A file or folder.

    `size` is in bytes, -1 for an unreachable file; `modified` changes with the content.
    """

    name: str
    is_folder: bool
    size: int = 0
    modified: int = 0


class Tree(ABC):
    """Files and folders below a root; paths are relative to it, and "" is the root itself.

    `identity` names the root in the cache's index. `leftovers` collects the paths of hidden and
    system files seen so far.
    """

    def __init__(self, title: str, identity: str) -> None:
        self.title = title
        self.identity = identity
        self.leftovers: set[str] = set()

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Returns a file's content. Raises whatever the underlying reader raises."""

    def close(self) -> None:  # noqa: B027 - only some trees hold something open
        """Closes open files."""

    @abstractmethod
    def _entries(self, folder: str) -> list[Node]:
        """Returns the nodes of a folder in any order."""

    @abstractmethod
    def _folder_key(self, folder: str) -> Hashable:
        """Returns a folder's identity, the same whether it is reached through a link or not."""

    def scan(self, folder: str = "") -> list[Node]:
        """Returns the nodes of a folder, sorted by name, without hidden and system files."""
        kept = []
        for node in self._entries(folder):
            if is_leftover(node.name):
                self.leftovers.add(join(folder, node.name) + "/" * node.is_folder)
            else:
                kept.append(node)
        return sorted(kept)

    def folders(self, folder: str = "") -> list[str]:
        """Returns the names of the folders in a folder, sorted."""
        return [node.name for node in self.scan(folder) if node.is_folder]

    def walk(self, folder: str = "") -> Iterator[tuple[str, Node]]:
        """Yields (path, node) of every file below a folder; follows links but not cycles."""
        return self._walk(folder, frozenset())

    def notes(self) -> list[str]:
        """Returns notes on files that were left out."""
        if not self.leftovers:
            return []
        names = sorted({PurePosixPath(path).name for path in self.leftovers})
        return [
            f"{len(self.leftovers)} hidden files and system files were ignored "
            f"({enumerate_names(names)})."
        ]

    def place(self, path: str) -> str:
        """Returns a path in its form for messages."""
        return shown(f"{self.title}/{path}" if path else self.title)

    def _walk(self, folder: str, above: frozenset[Hashable]) -> Iterator[tuple[str, Node]]:
        key = self._folder_key(folder)
        if key in above:  # a link to a parent folder
            return
        for node in self.scan(folder):
            path = join(folder, node.name)
            if node.is_folder:
                yield from self._walk(path, above | {key})
            else:
                yield path, node


class FolderTree(Tree):
    """The files of a folder on disk."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root), f"folder\0{root.resolve()}")
        self._root = root

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def _entries(self, folder: str) -> list[Node]:
        with os.scandir(self._root / folder) as entries:
            return [_node(entry) for entry in entries]

    def _folder_key(self, folder: str) -> Hashable:
        status = os.stat(self._root / folder)  # noqa: PTH116 - follows links as scandir does
        # Some network drives on Windows have no inode numbers.
        return (status.st_dev, status.st_ino) if status.st_ino else folder


def _node(entry: os.DirEntry[str]) -> Node:
    try:
        if entry.is_dir():
            return Node(entry.name, is_folder=True)
        status = entry.stat()
    except OSError:  # a dangling link: counts as an unreadable file
        return Node(entry.name, is_folder=False, size=-1, modified=-1)
    return Node(entry.name, is_folder=False, size=status.st_size, modified=status.st_mtime_ns)


def join(folder: str, name: str) -> str:
    """Joins a folder and a name; "" is the root."""
    return f"{folder}/{name}" if folder else name
