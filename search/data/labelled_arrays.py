"""Images and labels that come as arrays, whatever their type, to uint8 RGB and class numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from search.data import decoding
from search.data.cache import Content, PixelWriter
from search.data.dataset import Images, Indices


@dataclass(frozen=True, eq=False)
class Part:
    """One role's images (n, height, width[, channels]) and labels (n,) or (n, 1), with names."""

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
) -> Content:
    """Checks and writes the parts (train, validation, test: those there are) to their writers.

    Labels are numbers from 0 or strings; without `class_names` they name themselves. Pixels are
    uint8, other integers in 0..255, or floats in 0..1 or 0..255: the training images decide which.
    Raises UserError where an array breaks one of these rules.
    """
    train = parts["train"]
    class_names = class_names or _class_names(train)
    if len(class_names) < 2:
        raise UserError(
            f"A classifier needs at least two classes; {train.labels_name} holds only "
            f"'{', '.join(class_names)}'. Add images of another class."
        )
    if len(set(class_names)) < len(class_names):
        raise UserError(
            f"Class names must differ; received {', '.join(class_names)}. Rename the doubles."
        )
    scale = _scale(train)
    height, width = _height_and_width(train)
    size = image_size or decoding.default_size(height, width)
    notes: list[str] = []
    if size != (height, width):
        notes.append(
            f"All images were resized from {height}x{width} to {size[0]}x{size[1]} pixels "
            "(height x width). --image-size chooses another size."
        )
    for role, part in parts.items():
        labels = _numbers(part, class_names)
        if _height_and_width(part) != (height, width):
            raise UserError(
                f"All images must have the same size; {part.images_name} has shape "
                f"{part.images.shape} and {train.images_name} {train.images.shape}. Resize the one "
                f"or the other."
            )
        counts = np.bincount(labels, minlength=len(class_names))
        if not counts.all():
            empty = class_names[int(np.argmin(counts))]
            if role == "train":
                raise UserError(
                    f"Every class needs images; {part.labels_name} never holds class '{empty}' "
                    f"of {len(class_names)} classes. Number the classes from 0 without gaps."
                )
            notes.append(f"{part.labels_name} holds no image of class '{empty}'.")
        for image, label in zip(part.images, labels.tolist(), strict=True):
            pixels = _as_rgb(_as_uint8(image, scale, part.images_name))
            writers[role].append(decoding.resize(pixels, size), label)
    return Content(
        class_names=class_names,
        image_shape=(*size, 3),
        own_validation=len(parts["validation"].images) if "validation" in parts else 0,
        notes=tuple(notes),
    )


def _class_names(part: Part) -> tuple[str, ...]:
    labels = _flat(part)
    if labels.dtype.kind in "US":
        return tuple(str(name) for name in np.unique(labels.astype(str)))
    _check_integers(part)
    if labels.max() >= len(labels):
        raise UserError(
            f"Every class needs images; {part.labels_name} numbers {int(labels.max()) + 1} classes "
            f"with {len(labels)} images. Number the classes from 0 without gaps."
        )
    return tuple(str(number) for number in range(int(labels.max()) + 1))


def _numbers(part: Part, class_names: tuple[str, ...]) -> Indices:
    labels = _flat(part)
    if labels.dtype.kind in "US":
        numbers = {name: number for number, name in enumerate(class_names)}
        unknown = sorted(set(labels.astype(str).tolist()) - set(class_names))
        if unknown:
            raise UserError(
                f"{part.labels_name} must hold the training images' classes only; received "
                f"'{unknown[0]}'. Known: {', '.join(class_names[:10])}."
            )
        return np.array([numbers[name] for name in labels.astype(str).tolist()], dtype=np.int64)
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
        hint = " Turn one-hot rows into numbers with labels.argmax(axis=1)."
        raise UserError(
            f"Labels must have shape (images,) or (images, 1); {part.labels_name} has shape "
            f"{labels.shape}.{hint if labels.ndim == 2 else ''}"
        )
    if len(labels) != len(part.images):
        raise UserError(
            f"Every image needs one label; {part.images_name} has {len(part.images)} images and "
            f"{part.labels_name} {len(labels)} labels. Make them as many, in the same order."
        )
    if not len(labels):
        raise UserError(f"A data set needs images; {part.images_name} is empty. Add some to it.")
    return labels


def _check_integers(part: Part) -> None:
    labels = _flat(part)
    if labels.dtype.kind not in "iu":
        raise UserError(
            f"Labels must be integers or strings; {part.labels_name} has type {labels.dtype}. "
            "Convert them, for example with labels.astype(int)."
        )
    if labels.min() < 0:
        raise UserError(
            f"Labels must count from 0; {part.labels_name} holds {labels.min()}. "
            "Number the classes from 0 without gaps."
        )


def _height_and_width(part: Part) -> tuple[int, int]:
    shape = part.images.shape
    if len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4)):
        if min(shape[1:]) < 1:
            raise UserError(f"Images need pixels; {part.images_name} has shape {shape}.")
        return shape[1], shape[2]
    hint = ""
    if len(shape) == 4 and shape[1] in (1, 3, 4):
        hint = " Put the channels last with images.transpose(0, 2, 3, 1)."
    raise UserError(
        "Images must have shape (images, height, width) or (images, height, width, channels) with "
        f"1, 3 or 4 channels; {part.images_name} has shape {shape}.{hint}"
    )


def _scale(part: Part) -> float:
    """Returns what maps the training pixels to 0..255."""
    images = part.images
    if images.dtype.kind == "b":
        return 255.0
    if images.dtype.kind == "f" and images.size and images.max() <= 1:
        return 255.0
    return 1.0


def _as_uint8(image: NDArray[Any], scale: float, name: str) -> Images:
    if image.dtype == np.uint8:
        return np.asarray(image)
    if image.dtype.kind not in "biuf":
        raise UserError(f"Pixels must be numbers; {name} has type {image.dtype}.")
    pixels = image.astype(np.float64) * scale
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 255):  # also where a pixel is not a number
        raise UserError(
            "Pixels must be uint8, integers in 0..255, or floats in 0..1 or 0..255 (the training "
            f"images decide which); {name} holds {low / scale:g} to {high / scale:g}. "
            "Undo any standardisation: the models do it themselves."
        )
    return np.rint(pixels).astype(np.uint8)


def _as_rgb(image: Images) -> Images:
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    if image.shape[2] == 4:  # on white, as image files are
        opacity = image[:, :, 3:].astype(np.float64) / 255
        return np.rint(image[:, :, :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return np.broadcast_to(image, (*image.shape[:2], 3))
