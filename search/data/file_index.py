"""Finds the files that a label table names, in any spelling of their paths."""

from __future__ import annotations

import unicodedata
from collections import defaultdict

from search.data.formats import is_image
from search.data.label_table import is_table
from search.data.roles import plain_role
from search.data.tree import Node, Tree
from search.system.names import decoded


class FileIndex:
    """The files below a folder by name. `images` holds those with an image suffix."""

    def __init__(self, tree: Tree, folder: str = "") -> None:
        self.images: dict[str, Node] = {}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path, node in tree.walk(folder):
            if is_table(path):
                continue
            self._by_name[_folded(node.name)].append(path)
            if is_image(node.name):
                self.images[path] = node
                self._by_name[_folded(node.name.rpartition(".")[0])].append(path)

    def find(self, name: str, role: str) -> list[str]:
        """Returns the paths that match a name: none, one, or several equally good ones.

        A name may lack the suffix, omit leading folders, or start with folders of another machine.
        Of several matches, files in another role's folder, deeper files and files that differ in
        case rank lower.
        """
        parts = name.replace("\\", "/").removeprefix("./").split("/")
        wanted = [_folded(part) for part in parts]
        found = [path for path in self._by_name.get(wanted[-1], ()) if _fits(path, wanted)]
        if len(found) < 2:
            return found
        ranks = {
            path: (
                folder_role(path) not in (None, role),
                path.count("/"),
                not path.endswith("/".join(parts)),
            )
            for path in found
        }
        best = min(ranks.values())
        return [path for path in found if ranks[path] == best]


def folder_role(path: str) -> str | None:
    """Returns the role that a file's topmost folder names, if any."""
    top, separator, _ = path.partition("/")
    return plain_role(top) if separator else None


def _fits(path: str, wanted: list[str]) -> bool:
    """Returns whether one path is the end of the other, given that their last parts match."""
    above = [_folded(part) for part in path.split("/")[:-1]]
    length = min(len(above), len(wanted) - 1)
    return above[len(above) - length :] == wanted[len(wanted) - 1 - length : -1]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", decoded(name)).casefold()
