"""Image folders with one folder a class, with or without train/, val/, test/ above."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from cnn_blocks.errors import UserError
from search.data.decoding import SUFFIXES
from search.data.listing import ROLE_NAMES, ROLES, Listing
from search.data.names import enumerate_names
from search.data.tree import Tree, join

_LAYOUTS = (
    "train/<class>/*.jpg (with test/ and val/ if there are any), <class>/*.jpg, or images with "
    "their file names and labels in a labels.csv"
)


def list_class_folders(tree: Tree) -> Listing:
    """Lists the images of a tree whose folders are its classes; opens none of them.

    Raises UserError where the folders do not follow the pattern.
    """
    listing = Listing()
    ignored: Counter[str] = Counter()
    roles = _find_roles(tree, listing)
    for role in ROLES:
        if role not in roles:
            continue
        folder = roles[role]
        names = tuple(tree.folders(folder))
        if role == "train":
            _check_class_folders(tree, folder, names)
            listing.class_names = names
        elif names != listing.class_names:
            _raise_mismatch(tree.place(folder), names, listing.class_names)
        before = len(listing.paths)
        for label, name in enumerate(names):
            start = len(listing.paths)
            _list_images(tree, join(folder, name), label, listing, ignored)
            if len(listing.paths) == start:
                raise UserError(
                    f"Every class needs images; {tree.place(join(folder, name))} holds no PNG, "
                    "JPEG, BMP, WebP or GIF file. Add images or remove the folder."
                )
        listing.counts[role] = len(listing.paths) - before
    if ignored:
        kinds = ", ".join(sorted(suffix or "no suffix" for suffix in ignored)[:5])
        listing.notes.append(
            f"{ignored.total()} files that are no PNG, JPEG, BMP, WebP or GIF were ignored "
            f"({kinds})."
        )
    return listing


def _find_roles(tree: Tree, listing: Listing) -> dict[str, str]:
    """Returns the folder of each role; the root itself where there are no role folders."""
    folders = tree.folders()
    roles: dict[str, str] = {}
    for name in folders:
        role = ROLE_NAMES.get(name.lower())
        if role in roles:
            raise UserError(
                f"An image folder has one folder a role; {tree.place('')} has {roles[role]}/ and "
                f"{name}/ for {role}. Remove or rename one."
            )
        if role:
            roles[role] = name
    if not roles:
        return {"train": ""}
    if "train" not in roles:
        found = " and ".join(f"{name}/" for name in roles.values())
        raise UserError(
            f"An image folder that has {found} needs train/ too; {tree.place('')} has none. "
            f"Expected {_LAYOUTS}."
        )
    others = [name + "/" for name in folders if name.lower() not in ROLE_NAMES]
    if others:
        listing.notes.append(f"Folders beside train/ were ignored: {enumerate_names(others)}.")
    return roles


def _list_images(
    tree: Tree, folder: str, label: int, listing: Listing, ignored: Counter[str]
) -> None:
    for path, node in tree.walk(folder):
        suffix = PurePosixPath(node.name).suffix.lower()
        if suffix in SUFFIXES:
            listing.add(path, node, label)
        else:
            ignored[suffix] += 1


def _check_class_folders(tree: Tree, folder: str, names: tuple[str, ...]) -> None:
    if len(names) >= 2:
        return
    if not names:
        raise UserError(
            f"An image folder holds one folder a class; {tree.place(folder)} holds no folder. "
            f"Expected {_LAYOUTS}."
        )
    inner = join(folder, names[0])
    hint = f" Did you mean {tree.place(inner)}?" if len(tree.folders(inner)) >= 2 else ""
    raise UserError(
        f"A classifier needs at least two classes; {tree.place(folder)} holds only '{names[0]}'. "
        f"Expected {_LAYOUTS}.{hint}"
    )


def _raise_mismatch(place: str, names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    missing = [f"'{name}'" for name in expected if name not in names]
    unknown = [f"'{name}'" for name in names if name not in expected]
    parts = []
    if missing:
        parts.append(f"lacks {enumerate_names(missing)}")
    if unknown:
        parts.append(f"has {enumerate_names(unknown)}, which train does not")
    raise UserError(
        f"{place} must have the same class folders as train; it {' and '.join(parts)}. "
        "Add, rename or remove class folders."
    )
