"""Splits into roles: train fits, validation ranks, test is opened once and recorded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnn_blocks.config import InputSpec
from cnn_blocks.errors import UserError
from search.data.dataset import Dataset, Subset
from search.data.description import describe_images
from search.data.names import shown
from search.data.types import Indices
from search.system.files import whole_file

_SAMPLED_IMAGES = 10_000
_SAMPLED_PIXELS = 20_000_000
_SMALLEST_DEVIATION = 1 / 255


@dataclass(eq=False)
class Split:
    """A data set divided into roles. Only `open_test` gives access to the test images.

    `development` is train and validation together; `fractions` are those of the drawn roles (a role
    that the data set provides itself is missing); `sha256` identifies the indices; `openings` lists
    every opening of the test subset.
    """

    dataset: Dataset
    seed: int
    fractions: dict[str, float]
    train: Subset
    validation: Subset
    development: Subset
    _test: Subset = field(repr=False)
    openings: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the indices of all roles."""
        digest = hashlib.sha256()
        for name, subset in self._shares().items():
            digest.update(f"{name}:{len(subset)}:".encode())
            digest.update(subset.indices.astype("<i8").tobytes())
        return digest.hexdigest()

    @cached_property
    def spec(self) -> InputSpec:
        """The network input as the training images define it."""
        return _spec(self.dataset, self.train)

    @cached_property
    def development_spec(self) -> InputSpec:
        """The network input as train and validation together define it."""
        return _spec(self.dataset, self.development)

    @property
    def test_images(self) -> int:
        """The number of test images; reading it does not count as opening the test subset."""
        return len(self._test)

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for the user before training starts: classes, roles, and anomalies."""
        described = describe_images(
            self.dataset.class_names,
            self.development.class_counts(len(self.dataset.class_names)),
            train=len(self.train),
            validation=len(self.validation),
            test=self.test_images,
        )
        return (described, *self.dataset.notes)

    def open_test(self, purpose: str, record: Callable[[dict[str, Any]], None]) -> Subset:
        """Returns the test subset, after `record` has stored the time, purpose and image count."""
        opening = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "purpose": purpose,
            "images": len(self._test),
        }
        record(opening)
        self.openings.append(opening)
        return self._test

    def with_fewer_images(self, images: int) -> Split:
        """Returns this split with about `images` train and validation images, test unchanged.

        Every class keeps the same fraction of its images, at least one in each role.
        """
        kept = images / len(self.development)
        if kept >= 1:
            return self
        train, validation = (
            _thin(subset, kept, self.seed) for subset in (self.train, self.validation)
        )
        rows = np.sort(np.concatenate([train.indices, validation.indices]))
        development = replace(self.development, indices=rows)
        return replace(self, train=train, validation=validation, development=development)

    def save_indices(self, path: Path) -> None:
        """Writes train, validation and test indices to an .npz file, atomically."""
        indices = {name: subset.indices for name, subset in self._shares().items()}
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **indices)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())

    def _shares(self) -> dict[str, Subset]:
        return {"train": self.train, "validation": self.validation, "test": self._test}


def split_data(
    dataset: Dataset,
    *,
    seed: int,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.15,
) -> Split:
    """Splits a data set, stratified by class; equal arguments give equal splits on every machine.

    Both fractions refer to the images that have no fixed role. A data set's own validation or test
    images keep their role, and the fraction is then unused. Identical images of a class stay in
    one role.
    Raises UserError if a class has too few distinct images for all roles.
    """
    arrays = dataset.arrays
    pool = len(arrays.development) - arrays.own_validation
    fractions = {}
    if not arrays.own_validation:
        fractions["validation"] = validation_fraction
    if arrays.test is None:
        fractions["test"] = test_fraction
    _check(seed, fractions)
    drawn = _draw(dataset, pool, seed, [fractions.get("test"), fractions.get("validation")])
    test_rows, validation_rows, train_rows = drawn
    if arrays.own_validation:
        validation_rows = np.arange(pool, len(arrays.development), dtype=np.int64)

    everything, own_test = undivided(dataset)

    def subset(rows: Indices) -> Subset:
        return replace(everything, indices=np.sort(rows))

    return Split(
        dataset=dataset,
        seed=seed,
        fractions=fractions,
        train=subset(train_rows),
        validation=subset(validation_rows),
        development=subset(np.concatenate([train_rows, validation_rows])),
        _test=subset(test_rows) if own_test is None else own_test,
    )


def undivided(dataset: Dataset) -> tuple[Subset, Subset | None]:
    """Returns a data set's training and validation images as one share, and its test images.

    Nothing is drawn: the test share is None where the data set brings no test images.
    """
    arrays = dataset.arrays
    rows = np.arange(len(arrays.development), dtype=np.int64)
    development = Subset(
        arrays.development, arrays.development_labels, rows, arrays.development_files
    )
    if arrays.test is None or arrays.test_labels is None:
        return development, None
    rows = np.arange(len(arrays.test), dtype=np.int64)
    return development, Subset(arrays.test, arrays.test_labels, rows, arrays.test_files)


def _check(seed: int, fractions: dict[str, float]) -> None:
    if seed < 0:
        raise UserError(f"A seed must not be negative; received {seed}.")
    for name, value in fractions.items():
        if not 0 < value < 1:
            raise UserError(f"The {name} fraction must lie between 0 and 1; received {value}.")
    if sum(fractions.values()) >= 1:
        raise UserError(
            f"The fractions must leave images for training; received {fractions}. Fix: lower one."
        )


def _draw(dataset: Dataset, pool: int, seed: int, fractions: list[float | None]) -> list[Indices]:
    """Draws rows for each fraction, class by class, and returns the remaining rows last.

    Own code instead of scikit-learn: its import would take most of the two seconds allowed for a
    start, it need not keep identical images together, and it does not guarantee the same rows in
    its next version. NumPy guarantees the raw output of PCG64.
    """
    labels = dataset.arrays.development_labels[:pool]
    groups = dataset.arrays.groups[:pool]
    keys = np.random.PCG64(seed).random_raw(pool)[groups]
    roles = 1 + sum(fraction is not None for fraction in fractions)
    drawn: list[list[Indices]] = [[] for _ in range(len(fractions) + 1)]
    for number, name in enumerate(dataset.class_names):
        rows = np.flatnonzero(labels == number)
        rows = rows[np.lexsort((rows, groups[rows], keys[rows]))]
        # A role may end only where a group of identical images ends.
        ends = np.flatnonzero(np.append(np.diff(groups[rows]) != 0, True)) + 1
        if len(ends) < roles:
            raise UserError(
                f"Every class needs at least {roles} distinct images, one for each role; "
                f"'{shown(name)}' has {len(ends)}. Fix: add images or remove the class."
            )
        start, last = 0, -1
        left = roles
        for part, fraction in zip(drawn, fractions, strict=False):
            if fraction is None:
                continue
            left -= 1
            wanted = start + max(1, int(fraction * len(rows) + 0.5))
            last = min(max(int(np.searchsorted(ends, wanted)), last + 1), len(ends) - 1 - left)
            part.append(rows[start : ends[last]])
            start = int(ends[last])
        drawn[-1].append(rows[start:])
    empty = np.empty(0, dtype=np.int64)
    return [np.concatenate([empty, *part]) for part in drawn]


def _thin(subset: Subset, kept: float, seed: int) -> Subset:
    keys = np.random.PCG64(seed).random_raw(len(subset))
    labels = subset.labels[subset.indices]
    rows = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        drawn = members[np.argsort(keys[members], kind="stable")]
        rows.append(drawn[: max(1, round(kept * len(members)))])
    return replace(subset, indices=np.sort(subset.indices[np.concatenate(rows)]))


def _spec(dataset: Dataset, subset: Subset) -> InputSpec:
    height, width, _ = dataset.image_shape
    limit = min(_SAMPLED_IMAGES, max(1_000, _SAMPLED_PIXELS // (height * width)))
    # Evenly spaced: rows are sorted by class, so every class is sampled in proportion.
    positions = np.linspace(0, len(subset) - 1, min(len(subset), limit)).astype(np.int64)
    counts = np.zeros((3, 256), dtype=np.int64)
    for part in np.array_split(positions, max(1, len(positions) // 256)):
        images, _ = subset.gather(part)
        for channel in range(3):
            counts[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    deviation = np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0))
    deviation = np.maximum(deviation, _SMALLEST_DEVIATION)
    return InputSpec(
        image_shape=(height, width, 3),
        class_names=dataset.class_names,
        channel_mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        channel_deviation=(float(deviation[0]), float(deviation[1]), float(deviation[2])),
    )
