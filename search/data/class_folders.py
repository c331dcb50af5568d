"""Image folders with one folder a class, with or without train/, val/, test/ above."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cnn_blocks.errors import UserError
from search.data.formats import READABLE, advice_for, is_image, suffix_of
from search.data.listing import Listing
from search.data.names import class_name, enumerate_names, shown
from search.data.role_folders import LAYOUTS, find_role_folders
from search.data.roles import ROLES
from search.data.tree import Node, Tree, join

_Files = list[tuple[str, Node]]


@dataclass
class _Reading:
    """What lies below the role folders: images by class, and what belongs to none."""

    tree: Tree
    ignored: Counter[str] = field(default_factory=Counter)
    loose: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def classes(self, folder: str) -> dict[str, _Files]:
        """Returns the images of each class folder that has any, sorted by class."""
        found: dict[str, _Files] = {}
        for node in self.tree.scan(folder):
            path = join(folder, node.name)
            if not node.is_folder:
                if is_image(node.name):
                    self.loose.append(path)
                continue
            name = class_name(node.name, self.tree.place(path))
            images, others = self._images(path)
            if images:
                found.setdefault(name, []).extend(images)
            elif others:
                kinds = ", ".join(sorted(suffix or "no suffix" for suffix in others)[:5])
                advice = advice_for(others) or "Add images or remove the folder."
                raise UserError(
                    f"Every class needs images; {self.tree.place(path)} holds no {READABLE} file "
                    f"but others ({shown(kinds)}). {advice}{self._hint(folder)}"
                )
            else:
                self.empty.append(path + "/")
            self.ignored.update(others)
        return dict(sorted(found.items()))

    def _hint(self, folder: str) -> str:
        """Names the one folder that has class folders inside, as images/ beside annotations/."""
        fitting = []
        for name in self.tree.folders(folder):
            path = join(folder, name)
            inner = [self.tree.scan(join(path, child)) for child in self.tree.folders(path)]
            if sum(any(is_image(node.name) for node in nodes) for nodes in inner) >= 2:
                fitting.append(path)
        return f" Or did you mean {self.tree.place(fitting[0])}?" if len(fitting) == 1 else ""

    def _images(self, folder: str) -> tuple[_Files, Counter[str]]:
        images: _Files = []
        others: Counter[str] = Counter()
        for path, node in self.tree.walk(folder):
            if is_image(node.name):
                images.append((path, node))
            else:
                others[suffix_of(node.name)] += 1
        return images, others


def list_class_folders(tree: Tree) -> Listing:
    """Lists the images of a tree whose folders are its classes; opens none of them.

    Raises UserError where the folders do not follow the pattern.
    """
    folders = find_role_folders(tree)
    listing = Listing(notes=list(folders.notes))
    reading = _Reading(tree)
    if folders.roles["train"]:
        reading.loose = [n.name for n in tree.scan() if not n.is_folder and is_image(n.name)]
    train = reading.classes(folders.roles["train"])
    _check_classes(tree, folders.roles["train"], list(train), reading)
    listing.class_names = tuple(train)
    for role in ROLES:
        if role not in folders.roles:
            continue
        folder = folders.roles[role]
        classes = train if role == "train" else reading.classes(folder)
        if role != "train" and not _is_labelled(folder, classes, listing, reading):
            continue
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
            f"An image folder holds one folder a class; {place} holds {holds}. Expected {LAYOUTS}."
        )
    inner = join(folder, names[0])
    hint = ""
    if names[0] in tree.folders(folder) and len(tree.folders(inner)) >= 2:
        hint = f" Did you mean {tree.place(inner)}?"
    raise UserError(
        f"A classifier needs at least two classes; {place} holds images of '{shown(names[0])}' "
        f"only. Expected {LAYOUTS}.{hint}"
    )


def _is_labelled(
    folder: str, classes: dict[str, _Files], listing: Listing, reading: _Reading
) -> bool:
    """Returns whether a role's folder has classes; says in a note what is left out without."""
    known = [name for name in classes if name in listing.class_names]
    unknown = [f"'{name}'" for name in classes if name not in listing.class_names]
    loose = [path for path in reading.loose if path.rpartition("/")[0] == folder]
    if not known and len(unknown) < 2:
        # Images to be predicted: flat, or in a folder such as test/unknown/.
        reading.loose = [path for path in reading.loose if path not in set(loose)]
        images = len(loose) + sum(map(len, classes.values()))
        listing.notes.append(f"{shown(folder)}/ was left out: {images} images without labels.")
        return False
    missing = [f"'{name}'" for name in listing.class_names if name not in classes]
    if unknown:
        lacks = f"lacks {enumerate_names(missing)} and " if missing else ""
        raise UserError(
            f"{reading.tree.place(folder)} must have the same class folders as train; it {lacks}"
            f"has {enumerate_names(unknown)}, which train does not. Add, rename or remove class "
            "folders."
        )
    return True


def _left_out(reading: _Reading) -> list[str]:
    notes = []
    if reading.empty:
        notes.append(f"Folders without images were left out: {enumerate_names(reading.empty)}.")
    if reading.loose:
        notes.append(
            f"{len(reading.loose)} images beside the class folders were left out: "
            f"{enumerate_names(reading.loose)}."
        )
    if reading.ignored:
        kinds = ", ".join(sorted(suffix or "no suffix" for suffix in reading.ignored)[:5])
        notes.append(
            f"{reading.ignored.total()} files that are no {READABLE} were ignored ({shown(kinds)})."
        )
    return notes
