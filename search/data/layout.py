"""Decides where the labels of image files come from: the folders or a table."""

from __future__ import annotations

from cnn_blocks.errors import UserError
from search.data.class_folders import list_class_folders
from search.data.labelled_files import find_labelled_files, list_labelled_files
from search.data.listing import Listing
from search.data.role_folders import find_role_folders
from search.data.tree import Tree


def list_images(tree: Tree, table: str | None = None) -> Listing:
    """Lists the image files of a tree with their labels; opens no image.

    `table` is the path of the table to use. Without it, folders of the pattern train/<class> win.
    Elsewhere a table wins where it contradicts the folders, as beside images/ and masks/.
    Raises UserError where neither gives labels.
    """
    if table is not None and (named := find_labelled_files(tree, table)) is not None:
        return list_labelled_files(named)
    folders = _try_folders(tree)
    if isinstance(folders, Listing) and _roles_have_classes(tree, folders):
        return folders
    try:
        labelled = find_labelled_files(tree)
    except UserError as error:
        if isinstance(folders, Listing):
            return folders
        raise error from folders
    if labelled is None or (labelled.is_a_guess and not labelled.found):
        return _or_raise(folders)
    if isinstance(folders, UserError):
        return list_labelled_files(labelled)
    if labelled.is_a_guess or not labelled.found or labelled.follows_folders:
        return folders
    return list_labelled_files(labelled)


def _or_raise(folders: Listing | UserError) -> Listing:
    if isinstance(folders, UserError):
        raise folders
    return folders


def _try_folders(tree: Tree) -> Listing | UserError:
    try:
        return list_class_folders(tree)
    except UserError as error:
        return error


def _roles_have_classes(tree: Tree, listing: Listing) -> bool:
    roles = find_role_folders(tree).roles
    return roles["train"] != "" and roles.keys() == listing.counts.keys()
