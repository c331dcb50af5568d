"""Hints for errors about missing classes: where the classes probably are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath

from search.data.formats import advice_for, is_image, suffix_of
from search.data.names import enumerate_names
from search.data.roles import find_roles
from search.data.tree import Tree, join

_DEPTH = 3
_NUMBER_AT_THE_END = re.compile(r"[\s._()-]*\d+\)?$")


def suggest_root(tree: Tree, folder: str = "") -> str:
    """Returns "Did you mean ...?" if exactly one folder below holds class folders, else ""."""
    level = [folder]
    for _ in range(_DEPTH):
        level = [join(path, name) for path in level for name in tree.folders(path)]
        fitting = [path for path in level if _holds_classes(tree, path)]
        if fitting:
            return f" Did you mean {tree.place(fitting[0])}?" if len(fitting) == 1 else ""
    return ""


def advise_on_files(tree: Tree, folder: str) -> str:
    """Returns advice on the files of a folder without class folders, or ""."""
    files = [node.name for node in tree.scan(folder) if not node.is_folder]
    classes = _classes_in_names([name for name in files if is_image(name)])
    if classes:
        return (
            f" Fix: if the file names begin with the classes ({enumerate_names(classes)}), write "
            "a labels.csv of file names and labels from them."
        )
    advice = advice_for(map(suffix_of, files))
    return f" {advice}" if advice else ""


def _holds_classes(tree: Tree, folder: str) -> bool:
    names = tree.folders(folder)
    roles = find_roles(names)
    if any(role == "train" and tree.folders(join(folder, name)) for name, role in roles.items()):
        return True
    scans = (tree.scan(join(folder, name)) for name in names if name not in roles)
    return sum(any(is_image(node.name) for node in nodes) for nodes in scans) >= 2


def _classes_in_names(files: list[str]) -> list[str]:
    """Returns cat and dog for cat.0.jpg, dog_17.jpg and so on; empty if there is no pattern."""
    counts = Counter(_NUMBER_AT_THE_END.sub("", PurePosixPath(name).stem) for name in files)
    return sorted(counts) if len(counts) > 1 and min(counts.values()) > 1 else []
