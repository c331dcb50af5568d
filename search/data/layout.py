"""Decides whether the labels of image files come from folders or a table."""

from __future__ import annotations

from cnn_blocks.errors import UserError
from search.data.class_folders import list_class_folders
from search.data.folder_layout import Layout
from search.data.hints import suggest_root
from search.data.labelled_files import (
    LabelledFiles,
    find_labelled_files,
    is_a_guess,
    label_tables,
    list_labelled_files,
)
from search.data.listing import Listing
from search.data.role_folders import find_role_folders
from search.data.tree import Tree


def list_images(tree: Tree, table: str | None = None, layout: Layout = "auto") -> Listing:
    """Lists the image files of a tree with their labels; opens no image.

    If `table` is given, the labels come from that table. If `layout` is not "auto", they come from
    the folders. Otherwise folders of the form train/<class> take precedence; for any other
    folders, such as images/ next to masks/, a table that contradicts them does.
    Raises UserError if neither gives labels.
    """
    if table is not None:
        return list_labelled_files(find_labelled_files(tree, [table]))
    if layout != "auto":
        return list_class_folders(tree, layout)
    folders = _try_folders(tree)
    tables = label_tables(tree)
    has_roles = isinstance(folders, Listing) and _roles_have_classes(tree, folders)
    if has_roles:
        tables = [path for path in tables if not is_a_guess(path)]
    if not tables:
        if isinstance(folders, UserError):
            raise folders
        return folders
    try:
        labelled = find_labelled_files(tree, tables)
    except UserError as error:
        if isinstance(folders, UserError):
            raise UserError(f"{error}{suggest_root(tree)}") from folders
        if not has_roles and not is_a_guess(tables[0]):
            folders.notes.append(f"The folders are the classes. {error}")
        return folders
    guessed = is_a_guess(labelled.table_path)
    if isinstance(folders, UserError):
        if guessed and not labelled.found:
            raise folders
        return list_labelled_files(labelled)
    is_better = labelled.found and not guessed and not has_roles
    if is_better and not labelled.follows_folders:
        return list_labelled_files(labelled)
    folders.notes.extend(_doubts(tree, folders, labelled))
    return folders


def _doubts(tree: Tree, folders: Listing, labelled: LabelledFiles) -> list[str]:
    """Returns a note if an unused table disagrees with the folders."""
    is_about_images = labelled.found >= len(labelled.files) / 2
    if not is_about_images or not labelled.table.names_labels:
        return []
    place = tree.place(labelled.table_path)
    if not labelled.agrees_with(folders):
        return [
            f"The folders are the classes; {place} has other labels for their images. To use "
            "those labels, give the table as the data."
        ]
    if labelled.names_roles and len(folders.counts) == 1:
        return [
            f"{place} divides the images into roles; the folders do not. To use those roles, give "
            "the table as the data."
        ]
    return []


def _try_folders(tree: Tree) -> Listing | UserError:
    try:
        return list_class_folders(tree)
    except UserError as error:
        return error


def _roles_have_classes(tree: Tree, listing: Listing) -> bool:
    roles = find_role_folders(tree).roles
    labelled = listing.counts.keys() - listing.from_tables
    return roles["train"] != "" and roles.keys() == labelled
