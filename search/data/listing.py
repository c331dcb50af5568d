"""What lies in an image folder: one folder a class, with or without train/, val/, test/ above."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cnn_blocks.errors import UserError
from search.data.decoding import SUFFIXES

_ROLE_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_ROLES = ("train", "validation", "test")
_LAYOUTS = "train/<class>/*.jpg (with test/ and val/ if there are any), or <class>/*.jpg"


@dataclass
class Listing:
    """The files of an image folder in a fixed order: by role, class, path.

    `paths` are relative to the root; `modified` is in nanoseconds; `counts` says how many files
    each role has.
    """

    class_names: tuple[str, ...] = ()
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    modified: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def list_folder(root: Path) -> Listing:
    """Lists a folder's image files with their sizes and times; opens none of them."""
    listing = Listing()
    roles = _find_roles(root, listing)
    for role in _ROLES:
        if role not in roles:
            continue
        folder = roles[role]
        classes = _subfolders(folder)
        names = tuple(entry.name for entry in classes)
        if role == "train":
            _check_class_folders(root, folder, names)
            listing.class_names = names
        elif names != listing.class_names:
            _raise_mismatch(folder, names, listing.class_names)
        before = len(listing.paths)
        for label, entry in enumerate(classes):
            start = len(listing.paths)
            relative = "" if folder == root else folder.name + "/"
            _list_images(entry.path, f"{relative}{entry.name}/", listing)
            found = len(listing.paths) - start
            if not found:
                raise UserError(
                    f"Every class needs images; {entry.path} holds no PNG, JPEG, BMP, WebP or GIF "
                    "file. Add images or remove the folder."
                )
            listing.labels.extend([label] * found)
        listing.counts[role] = len(listing.paths) - before
    if listing.ignored:
        kinds = ", ".join(sorted(suffix or "no suffix" for suffix in listing.ignored)[:5])
        listing.notes.append(
            f"{listing.ignored.total()} files that are no PNG, JPEG, BMP, WebP or GIF were ignored "
            f"({kinds})."
        )
    return listing


def _find_roles(root: Path, listing: Listing) -> dict[str, Path]:
    folders = _subfolders(root)
    roles: dict[str, Path] = {}
    for entry in folders:
        role = _ROLE_NAMES.get(entry.name.lower())
        if role in roles:
            raise UserError(
                f"An image folder has one folder a role; {root} has {roles[role].name}/ and "
                f"{entry.name}/ for {role}. Remove or rename one."
            )
        if role:
            roles[role] = Path(entry.path)
    if not roles:
        return {"train": root}
    if "train" not in roles:
        found = " and ".join(f"{path.name}/" for path in roles.values())
        raise UserError(
            f"An image folder that has {found} needs train/ too; {root} has none. "
            f"Expected {_LAYOUTS}."
        )
    others = [entry.name + "/" for entry in folders if entry.name.lower() not in _ROLE_NAMES]
    if others:
        listing.notes.append(f"Folders beside train/ were ignored: {enumerate_names(others)}.")
    return roles


def _subfolders(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(found, key=lambda entry: entry.name)


def _list_images(folder: str, relative: str, listing: Listing) -> None:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        name = entry.name
        if name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():  # a link could lead back here
                _list_images(entry.path, f"{relative}{name}/", listing)
            continue
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each file is slow
        if suffix not in SUFFIXES:
            listing.ignored[suffix] += 1
            continue
        try:
            status = entry.stat()
            size, modified = status.st_size, status.st_mtime_ns
        except OSError:  # a dangling link: counted among the files that cannot be read
            size, modified = -1, -1
        listing.paths.append(relative + name)
        listing.sizes.append(size)
        listing.modified.append(modified)


def _check_class_folders(root: Path, folder: Path, names: tuple[str, ...]) -> None:
    if len(names) >= 2:
        return
    if not names:
        raise UserError(
            f"An image folder holds one folder a class; {folder} holds no folder. "
            f"Expected {_LAYOUTS}."
        )
    inner = folder / names[0]
    hint = f" Did you mean {inner}?" if len(_subfolders(inner)) >= 2 else ""
    raise UserError(
        f"A classifier needs at least two classes; {folder} holds only '{names[0]}'. "
        f"Expected {_LAYOUTS}.{hint}"
    )


def _raise_mismatch(folder: Path, names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    missing = [f"'{name}'" for name in expected if name not in names]
    unknown = [f"'{name}'" for name in names if name not in expected]
    parts = []
    if missing:
        parts.append(f"lacks {enumerate_names(missing)}")
    if unknown:
        parts.append(f"has {enumerate_names(unknown)}, which train does not")
    raise UserError(
        f"{folder} must have the same class folders as train; it {' and '.join(parts)}. "
        "Add, rename or remove class folders."
    )


def enumerate_names(names: Iterable[str], *, limit: int = 5) -> str:
    """Returns the first names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
