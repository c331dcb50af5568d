"""Detects folders and files that look like classes or images but are masks, parts or copies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cnn_blocks.errors import UserError
from search.data.names import enumerate_names, shown
from search.data.roles import find_roles, name_words
from search.data.tree import Node, Tree, join

_IMAGES = frozenset({"image", "images", "img", "imgs", "jpegimages", "pngimages"})
_ANNOTATIONS = frozenset(
    {
        *("annotation", "annotations", "label", "labels", "mask", "masks", "trimap", "trimaps"),
        *("groundtruth", "gt", "segmentation", "segmentations", "segmentationclass"),
        *("segmentationobject", "boxes", "bboxes"),
    }
)
_PARTS = frozenset({"part", "parts", "fold", "batch", "chunk", "shard", "split", "images", "imgs"})
_CLASS_WORDS = frozenset({"class", "category", "label", "type"})
_UNLABELLED = frozenset(
    {"pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "inference"}
)
_MASK = re.compile(r"(.+?)[ _-](?:masks?|segmentation|groundtruth)(?:[ _-]?\d+)?", re.IGNORECASE)

Files = list[tuple[str, Node]]


@dataclass(frozen=True)
class _Inside:
    """The subfolders of a class folder that hold images, below single wrapper folders."""

    folder: str
    names: frozenset[str]


def drop_false_classes(
    tree: Tree, folder: str, classes: dict[str, Files]
) -> tuple[dict[str, Files], list[str]]:
    """Returns the real classes of a folder, and notes for the user.

    Leaves out copies of the data set and images without labels. A class may have subfolders.
    Raises UserError if the folders, or their subfolders, are not classes.
    """
    inside = {name: _look_inside(folder, files) for name, files in classes.items()}
    copies = [
        name
        for name, found in inside.items()
        if len(found.names) >= 2 and found.names <= classes.keys() - {name}
    ]
    unlabelled = [name for name in classes if name.lower() in _UNLABELLED]
    kept = {name: files for name, files in classes.items() if name not in {*copies, *unlabelled}}
    notes = [
        f"{shown(name)}/ was left out: {len(classes[name])} images without labels."
        for name in unlabelled
    ]
    notes += [
        f"{shown(name)}/ was left out: its subfolders have the names of the folders next to it, so "
        f"it is probably a copy ({len(classes[name])} images)."
        for name in copies
    ]
    inside = {name: inside[name] for name in kept}
    if len(kept) >= 2:
        _refuse_masks(tree, folder, inside)
        _refuse_roles(tree, folder, inside)
        _refuse_parts(tree, folder, list(kept))
        common = frozenset.intersection(*(found.names for found in inside.values()))
        if len(common) >= 2 and not _are_numbered(common):
            notes.append(_parallel(tree, folder, inside, common))
    return kept, notes


def without_masks(files: Files) -> Files:
    """Returns the images of a class without masks: 1_mask.png of 1.png, masks/ next to images/."""
    stems = {path.rpartition(".")[0] for path, _ in files}
    masks = {
        stem for stem in stems if (found := _MASK.fullmatch(stem)) is not None and found[1] in stems
    }
    folders = {path.rpartition("/")[0] for path, _ in files}
    above = {folder.rpartition("/")[0] for folder in folders if _kind(folder) in _IMAGES}
    mask_folders = {
        folder
        for folder in folders
        if _kind(folder) in _ANNOTATIONS and folder.rpartition("/")[0] in above
    }
    return [
        (path, node)
        for path, node in files
        if path.rpartition(".")[0] not in masks and path.rpartition("/")[0] not in mask_folders
    ]


def _kind(folder: str) -> str:
    return "".join(name_words(folder.rpartition("/")[2]))


def _look_inside(folder: str, files: Files) -> _Inside:
    start = len(folder) + 1 if folder else 0
    folders = {path.rpartition("/")[0] for path, _ in files}
    below = [path[start:].split("/") for path in folders]
    common = 1  # the class folder itself
    while True:
        tops = {parts[common] if len(parts) > common else "" for parts in below}
        if len(tops) != 1 or "" in tops:
            place = join(folder, "/".join(below[0][:common]))
            return _Inside(place, frozenset(tops - {""}))
        common += 1


def _refuse_masks(tree: Tree, folder: str, inside: dict[str, _Inside]) -> None:
    words = {name: _kind(name) for name in inside}
    images = [name for name in inside if words[name] in _IMAGES]
    if images and any(words[name] in _ANNOTATIONS for name in inside):
        hint = ""
        if len(inside[images[0]].names) >= 2:
            hint = f" Did you mean {tree.place(inside[images[0]].folder)}?"
        raise UserError(
            "Images and their masks or annotations are not classes; "
            f"{tree.place(folder)} holds {_folders(inside)}. Fix: put the images of each class "
            f"into a folder of its own, or list them with their labels in a labels.csv.{hint}"
        )


def _refuse_roles(tree: Tree, folder: str, inside: dict[str, _Inside]) -> None:
    for found in inside.values():
        roles = find_roles(sorted(found.names))
        if "train" in roles.values() and len(set(roles.values())) > 1:
            raise UserError(
                f"A class folder must not contain role folders; {tree.place(found.folder)} holds "
                f"{_folders(roles)}, and is one of the folders of {tree.place(folder)}. "
                f"Did you mean {tree.place(found.folder)}?"
            )


def _refuse_parts(tree: Tree, folder: str, names: list[str]) -> None:
    if not _PARTS.isdisjoint(_common_words(names)):
        raise UserError(
            f"Numbered parts of a data set are not classes; {tree.place(folder)} holds "
            f"{_folders(names)}. Fix: put the images of each class into a folder of its own, or "
            "list them with their labels in a labels.csv. If the folders are classes, add --layout "
            "classes."
        )


def _are_numbered(names: Iterable[str]) -> bool:
    """Returns whether names form a numbered series, such as day1 and day2, and not classes."""
    words = _common_words(names)
    return bool(words) and _CLASS_WORDS.isdisjoint(words)


def _common_words(names: Iterable[str]) -> set[str]:
    """Returns the words of names that differ only in numbers; empty for other names."""
    words = {tuple(word for word in name_words(name) if not word.isdigit()) for name in names}
    return set(words.pop()) if len(words) == 1 else set()


def _parallel(tree: Tree, folder: str, inside: dict[str, _Inside], common: frozenset[str]) -> str:
    """Returns a note that all classes hold the same folders; at the root, raises UserError."""
    outer, inner = _folders(inside), _folders(sorted(common))
    example = tree.place(next(iter(inside.values())).folder)
    text = (
        f"Each of {outer} in {tree.place(folder)} holds {inner}. Fix: if these are the classes, "
        f"give one of the outer folders, such as {example}"
    )
    if folder:
        return f"{text}."
    raise UserError(
        f"Class folders must not all have the same subfolders. {text}, or put the images of each "
        f"class into one folder. If {outer} are roles, rename them to train/ and test/; if they "
        "are classes, add --layout classes."
    )


def _folders(names: Iterable[str]) -> str:
    return enumerate_names(f"{name}/" for name in names)
