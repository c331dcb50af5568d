"""Tells role folders (train/, val/, test/) from class folders."""

from __future__ import annotations

from dataclasses import dataclass

from cnn_blocks.errors import UserError
from search.data.folder_layout import Layout
from search.data.formats import is_image
from search.data.hints import suggest_root
from search.data.names import enumerate_names, shown
from search.data.roles import find_roles, plain_role, split_role
from search.data.tree import Tree, join

LAYOUTS = (
    "train/<class>/*.jpg (optionally with test/ and val/), <class>/*.jpg, or images with a "
    "labels.csv of file names and labels"
)


@dataclass(frozen=True)
class RoleFolders:
    """For each role, the folder that contains its class folders; "" is the root."""

    roles: dict[str, str]
    notes: tuple[str, ...] = ()


def find_role_folders(tree: Tree, layout: Layout = "auto") -> RoleFolders:
    """Finds the folder of each role; without role folders, the root is the training folder.

    Raises UserError if folders look like roles but do not follow the pattern.
    """
    if layout == "classes":
        return RoleFolders({"train": ""})
    names = tree.folders()
    found = find_roles(names)
    if layout == "roles" and not found:
        raise UserError(
            f"With --layout roles the data set's root holds train/ and optionally test/ and val/; "
            f"{tree.place('')} holds {enumerate_names(names) or 'no folder'}. Fix: rename the "
            f"folders, or leave out --layout."
        )
    if (
        layout == "auto"
        and len(found) == 1
        and len(names) > 1
        and not tree.folders(next(iter(found)))
    ):
        # Vehicles: bus/, car/ and train/, with images and no class folders inside.
        (name,) = found
        note = f"{shown(name)}/ is treated as a class, because the other folders are not roles."
        return RoleFolders({"train": ""}, (note,))
    if not found:
        _refuse_roles_below(tree, names)
        return RoleFolders({"train": ""})
    roles: dict[str, str] = {}
    for name, role in found.items():
        if role in roles:
            raise UserError(
                f"An image folder has one folder per role; {tree.place('')} has {roles[role]}/ and "
                f"{name}/ for {role}. Fix: remove or rename one."
            )
        roles[role] = name
    if "train" not in roles:
        raise UserError(
            f"An image folder with {' and '.join(f'{name}/' for name in found)} also needs train/; "
            f"{tree.place('')} has none. Expected {LAYOUTS}.{suggest_root(tree)}"
        )
    notes = []
    others = [name + "/" for name in names if name not in found]
    if others:
        beside = f"{roles['train']}/"
        notes.append(f"Folders next to {beside} were ignored: {enumerate_names(others)}.")
    return RoleFolders({role: _innermost(tree, name) for role, name in roles.items()}, tuple(notes))


def _innermost(tree: Tree, folder: str) -> str:
    """Descends through single wrapper folders such as training_set/training_set/, train/images/."""
    while True:
        nodes = [node for node in tree.scan(folder) if node.is_folder or is_image(node.name)]
        if len(nodes) != 1 or not nodes[0].is_folder:
            return folder
        name = nodes[0].name
        inner = join(folder, name)
        repeats = name == folder.rpartition("/")[2] or plain_role(name) is not None
        if not (repeats or name.lower() == "images") or not tree.folders(inner):
            return folder
        folder = inner


def _refuse_roles_below(tree: Tree, names: list[str]) -> None:
    """Raises UserError for role folders one level too deep, or folders all named like roles.

    Otherwise data/ and models/, or train/ and test/ inside cats/, would be learned as classes.
    """
    for name in names:
        inner = tree.folders(name)
        roles = find_roles(inner)
        if len(names) > 1 and "train" in roles.values() and len(set(roles.values())) > 1:
            train = next(folder for folder, role in roles.items() if role == "train")
            if tree.folders(join(name, train)):
                advice = f"Did you mean {tree.place(name)}?"
            else:
                advice = f"Fix: move the images to {shown(train)}/{shown(name)}/ and so on."
            found = enumerate_names(f"{folder}/" for folder in roles)
            raise UserError(
                f"Role folders must be in the data set's root, with class folders inside; "
                f"{tree.place(name)} holds {found}. Expected {LAYOUTS}. {advice}"
            )
    spelled = [split_role(name) for name in names]
    if all(spelled) and len({found[0] for found in spelled if found}) > 1:
        raise UserError(
            f"Class folders must not all be named like roles; {tree.place('')} holds "
            f"{enumerate_names(names)}. Expected {LAYOUTS}. Fix: if they are roles, rename them to "
            f"train/ and test/; if they are classes, add --layout classes."
        )
