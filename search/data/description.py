"""What a person is told about the images before anything is trained."""

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
    """Returns the classes with their numbers of images, and how many images each role has.

    `counts` are those of training and validation together, shape (classes,). Of many classes the
    largest and the smallest are named.
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
