"""The data set as the rest of the search sees it: subsets of labelled uint8 images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from search.data.types import Images, Indices

if TYPE_CHECKING:
    from search.data.decoding_settings import Decoding
    from search.data.folder_layout import Layout


@dataclass(frozen=True, eq=False)
class Subset:
    """A subset of an array of images, with labels: one role (train, validation, test) of a split.

    `images` has shape (all images, height, width, 3), uint8 RGB, memory-mapped; `labels` has shape
    (all images,), int64. Both also hold the images of other subsets; `indices` are the rows of this
    one. `files` gives the file of each row of `images`; None if the images come from an array.
    """

    views: ClassVar[int] = 1

    images: Images = field(repr=False)
    labels: Indices = field(repr=False)
    indices: Indices = field(repr=False)
    files: tuple[str, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, positions: Indices | slice) -> tuple[Images, Indices]:
        """Returns the images (n, height, width, 3) and labels (n,) at positions of this subset.

        Both are copies in memory. Positions count within the subset, from 0 to len(subset) - 1.
        """
        rows = self.indices[positions]
        return self.images[rows], self.labels[rows]

    def class_counts(self, classes: int) -> Indices:
        """Returns how many images of each class the subset holds, shape (classes,)."""
        counts = np.bincount(self.labels[self.indices], minlength=classes)
        return counts.astype(np.int64, copy=False)


@dataclass(frozen=True, eq=False)
class Arrays:
    """The decoded images of a data set, for use inside `search.data` only.

    The last `own_validation` rows of `development` come from the data set's own validation images.
    `groups` gives, for each development row, the first row with identical pixels. `test` is None
    if the data set has no test images of its own. The files are paths relative to the data set's
    root; None if the images come from arrays.
    """

    development: Images
    development_labels: Indices
    groups: Indices
    own_validation: int
    test: Images | None
    test_labels: Indices | None
    development_files: tuple[str, ...] | None = None
    test_files: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, decoded once and memory-mapped; `split_data` divides them into roles.

    `source` is the data argument as given; `fingerprint` is the SHA-256 of pixels, labels and class
    names; `image_shape` is (height, width, 3); `decoding` says how image files are decoded to that
    shape; `notes` are messages for the user; `leaked_images` counts the test images that also
    occur, pixel for pixel, among the training or validation images; `layout` is the folder layout
    as given.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    fingerprint: str
    image_shape: tuple[int, int, int]
    decoding: Decoding
    notes: tuple[str, ...]
    leaked_images: int
    arrays: Arrays = field(repr=False)
    layout: Layout = "auto"

    @property
    def images(self) -> int:
        """The number of images in all roles."""
        test = self.arrays.test
        return len(self.arrays.development) + (0 if test is None else len(test))
