"""Describes the images to the user before training starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from search.data.names import shown

if TYPE_CHECKING:
    from search.data.types import Indices

_MOST_CLASSES = 8
_OF_EACH_END = 3


def describe_images(
    class_names: Sequence[str], counts: Indices, *, train: int, validation: int, test: int
) -> str:
    """Returns one line: the classes with their image counts, and the images per role.

    `counts` has shape (classes,) and covers training and validation together. If there are many
    classes, only the largest and the smallest are named.
    """
    named = [f"{shown(name)} {count:,}" for name, count in zip(class_names, counts, strict=True)]
    if len(named) > _MOST_CLASSES:
        order = np.argsort(-counts, kind="stable")
        largest = ", ".join(named[number] for number in order[:_OF_EACH_END])
        smallest = ", ".join(named[number] for number in order[-_OF_EACH_END:])
        classes = f"{largest}, ... {smallest}"
    else:
        classes = ", ".join(named)
    return (
        f"{len(named)} classes ({classes}): {train:,} images for training, {validation:,} for "
        f"validation; {test:,} more for the test"
    )
