"""Labels of val/ and test/ from a table, while train/ has class folders."""

from __future__ import annotations

from collections import defaultdict

from cnn_blocks.errors import UserError
from search.data.false_classes import Files
from search.data.file_index import FileIndex
from search.data.labelled_files import (
    MISSING,
    LabelledFiles,
    is_label_table,
    label_files,
    resolve_table,
    table_role,
)
from search.data.listing import Listing
from search.data.tree import Tree


def read_role_table(tree: Tree, folder: str, role: str, listing: Listing) -> dict[str, Files]:
    """Returns the files of a role by class, from a table in its folder or in the root.

    The table must name files of the folder and use only classes of `listing`, which gets a note
    about it; without such a table the result is empty. Raises UserError if a file has two labels.
    """
    labelled = _find(tree, folder, role, listing.class_names)
    if labelled is None:
        return {}
    classes: dict[str, Files] = defaultdict(list)
    labels = label_files(labelled, tree.place(labelled.table_path), listing)
    for path, (_, label) in sorted(labels.items()):
        classes[label].append((path, labelled.index.images.get(path, MISSING)))
    listing.notes.append(f"The labels of {folder}/ come from {labelled.table_path}.")
    return classes


def _find(tree: Tree, folder: str, role: str, class_names: tuple[str, ...]) -> LabelledFiles | None:
    paths = [path for path, _ in tree.walk(folder)]
    beside = [
        node.name for node in tree.scan() if not node.is_folder and table_role(node.name) == role
    ]
    candidates = [path for path in (*paths, *beside) if _is_candidate(path)]
    if not candidates:
        return None
    index = FileIndex(tree, folder)
    for path in candidates:
        try:
            labelled = resolve_table(tree, path, index, role, class_names)
        except UserError:
            continue
        if labelled.found and {row.label for row in labelled.table.rows} <= set(class_names):
            return labelled
    return None


def _is_candidate(path: str) -> bool:
    return is_label_table(path) or path.lower().endswith(".txt")
