"""Image folders with one folder per class, with or without train/, val/, test/ above."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cnn_blocks.errors import UserError
from search.data.false_classes import Files, drop_false_classes, without_masks
from search.data.folder_layout import Layout
from search.data.formats import READABLE, advice_for, is_image, suffix_of
from search.data.hints import advise_on_files, suggest_root
from search.data.listing import Listing
from search.data.names import class_name, enumerate_names, shown
from search.data.role_folders import LAYOUTS, find_role_folders
from search.data.role_tables import read_role_table
from search.data.roles import ROLES
from search.data.tree import Tree, join


@dataclass
class _Reading:
    """Reads the images below the role folders by class, and collects what belongs to none."""

    tree: Tree
    ignored: Counter[str] = field(default_factory=Counter)
    loose: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    masks: int = 0

    def classes(self, folder: str) -> dict[str, Files]:
        """Returns the images of each non-empty class folder, sorted by class."""
        found: dict[str, Files] = {}
        for node in self.tree.scan(folder):
            path = join(folder, node.name)
            if not node.is_folder:
                if is_image(node.name):
                    self.loose.append(path)
                continue
            name = class_name(node.name, self.tree.place(path))
            files, others = self._images(path)
            images = without_masks(files)
            self.masks += len(files) - len(images)
            if images:
                found.setdefault(name, []).extend(images)
            elif others:
                kinds = ", ".join(sorted(suffix or "no suffix" for suffix in others)[:5])
                hint = suggest_root(self.tree, folder)
                advice = "" if hint else advice_for(others)
                raise UserError(
                    f"Every class needs images; {self.tree.place(path)} holds no {READABLE} files, "
                    f"only others ({shown(kinds)}). "
                    f"{advice or 'Fix: add images or remove the folder.'}{hint}"
                )
            else:
                self.empty.append(path + "/")
            self.ignored.update(others)
        return dict(sorted(found.items()))

    def _images(self, folder: str) -> tuple[Files, Counter[str]]:
        images: Files = []
        others: Counter[str] = Counter()
        for path, node in self.tree.walk(folder):
            if is_image(node.name):
                images.append((path, node))
            else:
                others[suffix_of(node.name)] += 1
        return images, others


def list_class_folders(tree: Tree, layout: Layout = "auto") -> Listing:
    """Lists the images of a tree with one folder per class; opens no image.

    With `layout` "classes" every folder is a class, regardless of its name and content.
    Raises UserError if the folders do not follow the pattern.
    """
    folders = find_role_folders(tree, layout)
    listing = Listing(notes=list(folders.notes))
    reading = _Reading(tree)
    if folders.roles["train"]:
        reading.loose = [n.name for n in tree.scan() if not n.is_folder and is_image(n.name)]
    train = reading.classes(folders.roles["train"])
    if layout != "classes":
        train, notes = drop_false_classes(tree, folders.roles["train"], train)
        listing.notes.extend(notes)
    _check_classes(tree, folders.roles["train"], list(train), reading)
    listing.class_names = tuple(train)
    for role in ROLES:
        if role not in folders.roles:
            continue
        folder = folders.roles[role]
        classes = train if role == "train" else reading.classes(folder)
        if role != "train" and not _has_classes(classes, listing):
            classes = _read_table(folder, role, classes, listing, reading)
            if not classes:
                continue
        _check_same_classes(tree, folder, classes, listing)
        before = len(listing.paths)
        for label, name in enumerate(listing.class_names):
            for path, node in classes.get(name, []):
                listing.add(path, node, label)
        listing.counts[role] = len(listing.paths) - before
    listing.notes.extend(_left_out(reading))
    return listing


def _check_classes(tree: Tree, folder: str, names: list[str], reading: _Reading) -> None:
    if len(names) >= 2:
        return
    place = tree.place(folder)
    if not names:
        holds = "empty folders only" if reading.empty else "no folder"
        raise UserError(
            f"An image folder holds one folder per class; {place} holds {holds}. Expected "
            f"{LAYOUTS}.{advise_on_files(tree, folder)}"
        )
    hint = suggest_root(tree, folder) or advise_on_files(tree, folder)
    if not hint and names[0] in tree.folders(folder):
        hint = advise_on_files(tree, join(folder, names[0]))
    raise UserError(
        f"A classifier needs at least two classes; {place} holds only images of "
        f"'{shown(names[0])}'. Expected {LAYOUTS}.{hint}"
    )


def _has_classes(classes: dict[str, Files], listing: Listing) -> bool:
    """Returns False for unlabelled images: without folders, or in one such as test/unknown/."""
    return len(classes) >= 2 or not classes.keys().isdisjoint(listing.class_names)


def _read_table(
    folder: str, role: str, classes: dict[str, Files], listing: Listing, reading: _Reading
) -> dict[str, Files]:
    """Returns the files of a role without class folders, by class; notes what is left out."""
    loose = {path for path in reading.loose if path.rpartition("/")[0] == folder}
    reading.loose = [path for path in reading.loose if path not in loose]
    images = len(loose) + sum(map(len, classes.values()))
    labelled = read_role_table(reading.tree, folder, role, listing)
    if labelled:
        listing.from_tables.add(role)
    else:
        listing.notes.append(f"{shown(folder)}/ was left out: {images} images without labels.")
    listed = sum(map(len, labelled.values()))
    if labelled and listed < images:
        listing.notes.append(
            f"{images - listed} images of {shown(folder)}/ were left out because the table does "
            "not list them."
        )
    return labelled


def _check_same_classes(
    tree: Tree, folder: str, classes: dict[str, Files], listing: Listing
) -> None:
    missing = [f"'{name}'" for name in listing.class_names if name not in classes]
    unknown = [f"'{name}'" for name in classes if name not in listing.class_names]
    if unknown:
        lacks = f"lacks {enumerate_names(missing)} and " if missing else ""
        raise UserError(
            f"{tree.place(folder)} must have the same class folders as train; it {lacks}"
            f"has {enumerate_names(unknown)}, which train does not have. Fix: add, rename or "
            "remove class folders."
        )


def _left_out(reading: _Reading) -> list[str]:
    notes = []
    if reading.empty:
        notes.append(f"Folders without images were left out: {enumerate_names(reading.empty)}.")
    if reading.loose:
        notes.append(
            f"{len(reading.loose)} images outside the class folders were left out: "
            f"{enumerate_names(reading.loose)}."
        )
    if reading.masks:
        notes.append(f"{reading.masks} segmentation masks were left out.")
    if reading.ignored:
        kinds = ", ".join(sorted(suffix or "no suffix" for suffix in reading.ignored)[:5])
        notes.append(
            f"{reading.ignored.total()} files other than {READABLE} were ignored ({shown(kinds)})."
        )
    return notes
