"""Converts arrays of images and labels of any type to uint8 RGB and class numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from search.data import array_pixels as pixels
from search.data import decoding
from search.data.cache import Content, PixelWriter
from search.data.image_fit import FIT_WORDS, Fit
from search.data.names import enumerate_names, shown
from search.data.types import Indices


@dataclass(frozen=True, eq=False)
class Part:
    """One role's images (n, height, width[, channels]) and labels (n,) or (n, 1).

    The names are those of the arrays, for messages.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    images_name: str = "images"
    labels_name: str = "labels"


def write_parts(
    parts: dict[str, Part],
    writers: dict[str, PixelWriter],
    *,
    class_names: tuple[str, ...] | None,
    image_size: tuple[int, int] | None,
    fit: Fit,
) -> Content:
    """Checks the parts (keys: train, optionally validation and test) and writes them.

    Labels are integers from 0, or strings; without `class_names` they are the class names. Pixels
    are integers or floats in 0..1 or 0..255, decided by the training images, or integers in another
    range.
    Raises UserError if an array breaks one of these rules.
    """
    train = parts["train"]
    class_names = class_names or _class_names(train)
    if len(class_names) < 2:
        raise UserError(
            f"A classifier needs at least two classes; {train.labels_name} holds only "
            f"'{enumerate_names(class_names)}'. Fix: add images of another class."
        )
    if len(set(class_names)) < len(class_names):
        raise UserError(
            f"Class names must be unique; received {enumerate_names(class_names, limit=10)}. "
            "Fix: rename the duplicates."
        )
    levels = pixels.training_levels(train.images, train.images_name)
    height, width = pixels.height_and_width(train.images, train.images_name)
    size = image_size or decoding.default_size(height, width)
    notes = pixels.level_notes(levels, train.images_name)
    if size != (height, width):
        shape = "" if decoding.has_shape((height, width), size) else f", {FIT_WORDS[fit]}"
        notes.append(
            f"All images were resized from {height}x{width} to {size[0]}x{size[1]} pixels "
            f"(height x width){shape}. --image-size chooses another size."
        )
    for role, part in parts.items():
        labels = _numbers(part, class_names)
        if pixels.height_and_width(part.images, part.images_name) != (height, width):
            raise UserError(
                f"All images must have the same size; {part.images_name} has shape "
                f"{part.images.shape} and {train.images_name} {train.images.shape}. Fix: resize "
                f"one of them."
            )
        pixels.check_range(part.images, part.images_name, levels, train.images_name)
        counts = np.bincount(labels, minlength=len(class_names))
        if not counts.all():
            empty = class_names[int(np.argmin(counts))]
            if role == "train":
                raise UserError(
                    f"Every class needs images; {part.labels_name} never holds class '{empty}' "
                    f"of {len(class_names)} classes. Fix: number the classes from 0 without gaps, "
                    "for example with numpy.unique(labels, return_inverse=True)[1]."
                )
            notes.append(f"{part.labels_name} holds no image of class '{empty}'.")
        for image, label in zip(part.images, labels.tolist(), strict=True):
            rgb = pixels.as_rgb(pixels.as_uint8(image, levels, part.images_name))
            writers[role].append(decoding.resize(rgb, size, fit), label)
    return Content(
        class_names=class_names,
        image_shape=(*size, 3),
        own_validation=len(parts["validation"].images) if "validation" in parts else 0,
        notes=tuple(notes),
        levels=pixels.levels_of_files(levels),
    )


def class_texts(names: NDArray[Any], array_name: str) -> NDArray[np.str_]:
    """Returns class names as text; bytes must be UTF-8.

    Raises UserError if they are not.
    """
    try:
        texts = np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names.astype(str)
        "".join(texts.tolist()).encode("utf-8")
    except UnicodeError as error:
        raise UserError(
            f"Class names must be UTF-8 text; {array_name} holds a name that is not. Fix: decode "
            "the names before you save them, for example with numpy.char.decode(names, 'latin-1')."
        ) from error
    return texts


def _class_names(part: Part) -> tuple[str, ...]:
    labels = _flat(part)
    if labels.dtype.kind in "US":
        return tuple(np.unique(class_texts(labels, part.labels_name)).tolist())
    _check_integers(part)
    if labels.max() >= len(labels):
        raise UserError(
            f"Every class needs images; {part.labels_name} numbers {int(labels.max()) + 1} classes "
            f"with {len(labels)} images. Fix: number the classes from 0 without gaps."
        )
    return tuple(str(number) for number in range(int(labels.max()) + 1))


def _numbers(part: Part, class_names: tuple[str, ...]) -> Indices:
    labels = _flat(part)
    if labels.dtype.kind in "US":
        texts = class_texts(labels, part.labels_name).tolist()
        numbers = {name: number for number, name in enumerate(class_names)}
        unknown = sorted(set(texts) - set(class_names))
        if unknown:
            raise UserError(
                f"{part.labels_name} must hold only classes of the training images; received "
                f"'{shown(unknown[0])}'. Known: {enumerate_names(class_names, limit=10)}."
            )
        return np.array([numbers[name] for name in texts], dtype=np.int64)
    _check_integers(part)
    if labels.max() >= len(class_names):
        raise UserError(
            f"Labels must lie in 0..{len(class_names) - 1} for {len(class_names)} classes; "
            f"{part.labels_name} holds {labels.max()}."
        )
    return labels.astype(np.int64)


def _flat(part: Part) -> NDArray[Any]:
    labels = part.labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = " Fix: turn one-hot rows into class numbers with labels.argmax(axis=1)."
        raise UserError(
            f"Labels must have shape (images,) or (images, 1); {part.labels_name} has shape "
            f"{labels.shape}.{hint if labels.ndim == 2 else ''}"
        )
    if len(labels) != len(part.images):
        hint = ""
        if part.images.ndim == 4 and part.images.shape[3] == len(labels):  # as in SVHN's files
            hint = " Here the image axis is last: use images.transpose(3, 0, 1, 2)."
        raise UserError(
            f"Every image needs one label; {part.images_name} has {len(part.images)} images and "
            f"{part.labels_name} has {len(labels)} labels. Fix: give as many labels as images, in "
            f"the same order.{hint}"
        )
    if not len(labels):
        raise UserError(f"A data set needs images; {part.images_name} is empty. Fix: add images.")
    return labels


def _check_integers(part: Part) -> None:
    labels = _flat(part)
    if labels.dtype.kind not in "iu":
        raise UserError(
            f"Labels must be integers or strings; {part.labels_name} has type {labels.dtype}. "
            "Fix: convert them, for example with labels.astype(int)."
        )
    if labels.min() < 0:
        raise UserError(
            f"Labels must start at 0; {part.labels_name} holds {labels.min()}. "
            "Fix: number the classes from 0 without gaps."
        )
