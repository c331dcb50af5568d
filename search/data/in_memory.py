"""Writes images in memory to the cache, so that every process can read them.

Arrays and data sets become a file, which then passes the same checks and conversions as any file
named by the user. The file's name is the SHA-256 of its content, so the same images are the same
data in the next session.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnn_blocks.errors import UserError
from search.data.cache import default_cache_directory
from search.data.roles import ROLE_WORDS, ROLES
from search.system.files import whole_file, whole_folder

_ACCEPTED = (
    "Data in memory must be (images, labels), (train, test) or (train, validation, test) of such "
    "pairs, a dictionary of roles, or anything indexable with a length whose items are (image, "
    "label)"
)
_SHORT = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True, eq=False)
class _Part:
    """One role: images as one array, or as a list if their shapes differ."""

    images: NDArray[Any] | list[NDArray[Any]]
    labels: NDArray[Any]
    class_names: tuple[str, ...] | None


def store_in_memory(data: Any, *, cache_directory: Path | None = None) -> Path:
    """Writes images and labels to the cache; returns the path to load them from.

    `data` is `(images, labels)`, `(train, test)` or `(train, validation, test)` of such pairs, or a
    mapping from roles to such pairs. An indexable data set with a length can replace each pair: its
    items are (image, label), or mappings with "image" and "label" as in Hugging Face data sets.
    Images are arrays of shape (height, width[, channels]); in a data set they may also be arrays of
    shape (1 or 3, height, width) or PIL images, and their shapes may differ. Class names come from
    a data set's `classes` or `features`.
    Raises UserError for anything else.
    """
    parts = {role: _part(part, role) for role, part in _roles(data).items()}
    folder = (cache_directory or default_cache_directory()) / "in_memory"
    if any(isinstance(part.images, list) for part in parts.values()):
        return _write_files(parts, folder)
    return _write_arrays(parts, folder)


def _roles(data: Any) -> dict[str, Any]:
    if isinstance(data, Mapping):
        roles = {str(name): ROLE_WORDS.get(str(name).lower()) for name in data}
        unknown = [name for name, role in roles.items() if role is None]
        if unknown or "train" not in roles.values():
            raise UserError(
                f"A dictionary of data sets has the roles train, validation and test; received "
                f"{', '.join(roles)}. Fix: use these names, and leave out any others."
            )
        return {str(roles[str(name)]): part for name, part in data.items()}
    if isinstance(data, tuple) and 2 <= len(data) <= 3 and all(map(_is_part, data)):
        names = ROLES if len(data) == 3 else ("train", "test")
        return dict(zip(names, data, strict=True))
    return {"train": data}


def _is_part(value: Any) -> bool:
    """Whether a value holds a role's images and labels, not only the images or the labels."""
    return _is_pair(value) or _is_dataset(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_array, value))


def _is_array(value: Any) -> bool:
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__"):
        return False
    return hasattr(value, "__array__") or isinstance(value, list | tuple)


def _is_dataset(value: Any) -> bool:
    plain = isinstance(value, str | bytes | Mapping | tuple | list) or hasattr(value, "__array__")
    return not plain and hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _part(part: Any, role: str) -> _Part:
    if _is_pair(part):
        images, labels = (np.asarray(_on_host(value)) for value in part)
        return _Part(images, labels, None)
    if _is_dataset(part) or (isinstance(part, list) and part and _is_item(part[0])):
        return _collected(part, role)
    raise UserError(f"{_ACCEPTED}; received {_described(part)} for {role}.")


def _is_item(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, tuple) and len(value) == 2)


def _collected(dataset: Any, role: str) -> _Part:
    images, labels = [], []
    for position in range(len(dataset)):
        image, label = _image_and_label(dataset[position], role)
        images.append(_as_array(image))
        labels.append(label)
    names = _class_names(dataset)
    if len({(image.shape, image.dtype) for image in images}) == 1:
        return _Part(np.stack(images), np.asarray(labels), names)
    return _Part(images, np.asarray(labels), names)


def _image_and_label(item: Any, role: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        images = [item[name] for name in ("image", "img", "pixel_values") if name in item]
        labels = [item[name] for name in ("label", "labels", "fine_label") if name in item]
        if images and labels:
            return images[0], _plain(labels[0])
    elif isinstance(item, tuple | list) and len(item) == 2:
        return item[0], _plain(item[1])
    raise UserError(f"{_ACCEPTED}; an item of {role} is {_described(item)}.")


def _as_array(image: Any) -> NDArray[Any]:
    if isinstance(image, Image.Image):
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    array = np.asarray(_on_host(image))
    # PyTorch puts the channels first.
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3, 4):
        return array.transpose(1, 2, 0)
    return array


def _on_host(value: Any) -> Any:
    """Returns a tensor from any device in a form that NumPy can read."""
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach()
    return value.cpu() if hasattr(value, "cpu") else value


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    names = getattr(dataset, "classes", None)
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        for name in ("label", "labels", "fine_label"):
            names = names or getattr(features.get(name), "names", None)
    return tuple(map(str, names)) if isinstance(names, Sequence) and names else None


def _write_arrays(parts: dict[str, _Part], folder: Path) -> Path:
    arrays: dict[str, NDArray[Any]] = {}
    for role, part in parts.items():
        arrays[f"x_{_SHORT[role]}"] = np.asarray(part.images)
        arrays[f"y_{_SHORT[role]}"] = part.labels
    names = parts["train"].class_names
    if names is not None:
        arrays["class_names"] = np.array(names)
    for name, array in arrays.items():
        if array.dtype.kind == "O":
            raise UserError(
                f"Images and labels must be plain arrays; {name} has the type object, as "
                f"from lists of different lengths. Fix: give all images one shape, or pass a data "
                f"set of (image, label) pairs."
            )
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    path = folder / f"{digest.hexdigest()[:32]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    return path


def _write_files(parts: dict[str, _Part], folder: Path) -> Path:
    """Writes images of different shapes as PNG files with a table of their labels."""
    names = parts["train"].class_names
    digest = hashlib.sha256(repr(names).encode())
    for role, part in parts.items():
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            digest.update(f"{role} {label} {image.dtype} {image.shape}".encode())
            digest.update(np.ascontiguousarray(image).data)
    final = folder / digest.hexdigest()[:32]
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_folder(final) as temporary:
            _write_table(parts, names, temporary)
    return final / "labels.csv"


def _write_table(parts: dict[str, _Part], names: tuple[str, ...] | None, folder: Path) -> None:
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "split"])
        for role, part in parts.items():
            for number, image in enumerate(part.images):
                if image.dtype != np.uint8:
                    raise UserError(
                        f"Images of different shapes must be uint8; received {image.dtype} in "
                        f"{role}. Fix: convert them, or resize them to one shape."
                    )
                name = f"{role}_{number:06d}.png"
                Image.fromarray(image.squeeze()).save(folder / name)
                label = part.labels[number].item()
                table.writerow([name, label if names is None else names[int(label)], role])


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return f"{kind} of shape {tuple(shape)}" if shape is not None else kind
