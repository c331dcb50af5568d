"""What every part of a search sees of a data set: shares of labelled uint8 images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from search.data.types import Images, Indices

if TYPE_CHECKING:
    from search.data.decoding_settings import Decoding
    from search.data.folder_layout import Layout


@dataclass(frozen=True, eq=False)
class Share:
    """Some images of an array, with their labels: a role (train, validation, test) of a split.

    `images` is (all images, height, width, 3) uint8 RGB, memory-mapped, and `labels` (all images,)
    int64; they hold the images of other shares too. `indices` are the rows that belong to this one.
    `files` names the file of every image of `images`; None where they come from an array.
    """

    views: ClassVar[int] = 1

    images: Images = field(repr=False)
    labels: Indices = field(repr=False)
    indices: Indices = field(repr=False)
    files: tuple[str, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, positions: Indices | slice) -> tuple[Images, Indices]:
        """Returns the images (n, height, width, 3) and labels (n,) at positions of this share.

        Both are copies in memory. Positions count within the share, from 0 to len(share) - 1.
        """
        rows = self.indices[positions]
        return self.images[rows], self.labels[rows]

    def class_counts(self, classes: int) -> Indices:
        """Returns how many images of each class the share holds, shape (classes,)."""
        counts = np.bincount(self.labels[self.indices], minlength=classes)
        return counts.astype(np.int64, copy=False)


@dataclass(frozen=True, eq=False)
class Arrays:
    """The decoded images of a data set; only `search.data` touches them.

    The last `own_validation` rows of `development` came from a validation folder of their own.
    `groups` holds for each development row the first row with identical pixels. `test` is None
    where the data set brings no test images. The files are relative to the data set's root, None
    where images come from arrays.
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

    `source` is what the user typed; `fingerprint` the SHA-256 of pixels, labels and class names;
    `image_shape` (height, width, 3); `decoding` says how image files were brought to it; `notes`
    are sentences that the user should read; `leaked_images` counts test images whose identical
    pixels stand among the training images; `layout` is what the user said of the folders.
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
        """The number of images, all roles together."""
        test = self.arrays.test
        return len(self.arrays.development) + (0 if test is None else len(test))
