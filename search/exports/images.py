"""The real images for comparing exported files: a run's training and validation images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.data.source import DataSource
from search.exports.formats import Images
from search.exports.run_folder import RunFolder, with_classes

if TYPE_CHECKING:
    from search.data import Dataset, Decoding, Subset

COMPARED_IMAGES = 256
_CALIBRATION_IMAGES = 256
_FEWEST_CALIBRATION_IMAGES = 32


@dataclass(frozen=True, eq=False)
class RealImages:
    """Images (N, height, width, 3) with their labels (N,), and other images to calibrate int8.

    `described` is a readable description of the images.
    """

    images: Images
    labels: npt.NDArray[np.int64]
    calibration: Images
    described: str


def real_images(run: RunFolder, data: DataSource) -> RealImages:
    """Draws images from a run's data, or from `data` if its location is given.

    They are training and validation images. The run's test images stay closed, even if its data
    has changed since, and so do the test images of other data.
    Raises UserError if the images are gone, or have other classes.
    """
    dataset = open_images(_located(run, data), run.class_names, run.decoding)
    split = run.split_of(dataset)
    subset = _without_test_files(run, dataset) if split is None else split.development
    order = np.random.default_rng(0).permutation(len(subset))
    drawn, others = order[:COMPARED_IMAGES], order[COMPARED_IMAGES:]
    images, labels = subset.gather(np.sort(drawn))
    if len(others) < _FEWEST_CALIBRATION_IMAGES:
        others = drawn
    calibration, _ = subset.gather(np.sort(others[:_CALIBRATION_IMAGES]))
    described = f"{len(images)} training and validation images of {dataset.name}"
    if split is None:
        described = f"{len(images)} images of {dataset.name}, which are not the run's images"
    return RealImages(images, labels, calibration, described)


def open_images(data: DataSource, class_names: tuple[str, ...], decoding: Decoding) -> Dataset:
    """Loads images with a model's classes, decoded as its training images were.

    Raises UserError if that is not possible.
    """
    dataset = replace(
        data, image_size=decoding.size, fit=decoding.fit, levels=decoding.levels
    ).load()
    if dataset.decoding != decoding:
        raise UserError(
            f"Images must be decoded like the model's training images; the arrays of "
            f"{dataset.source} have values from {dataset.decoding.levels.low:g} to "
            f"{dataset.decoding.levels.high:g}, the model expects {decoding.levels.low:g} to "
            f"{decoding.levels.high:g}. Fix: name image files, or arrays in that range."
        )
    return with_classes(dataset, class_names)


def _without_test_files(run: RunFolder, dataset: Dataset) -> Subset:
    """Returns a data set's training and validation images that were not the run's test images."""
    from search.data import undivided
    from search.data.names import shown

    subset, _ = undivided(dataset)
    if subset.files is None:
        return subset
    tested = run.test_files
    kept = [row for row in subset.indices.tolist() if shown(subset.files[row]) not in tested]
    if not kept:
        raise UserError(
            f"A comparison must not use the run's test images; {dataset.source} holds no others. "
            f"Fix: name other images with --data."
        )
    return replace(subset, indices=np.array(kept, dtype=np.int64))


def _located(run: RunFolder, data: DataSource) -> DataSource:
    from search.data.named import NAMED_DATA

    if data.location is not None:
        return data
    recorded = run.environment["data"]
    source = str(recorded["source"])
    if source not in NAMED_DATA and not user_path(source).exists():
        raise UserError(
            f"An export is compared on the run's images; {source} no longer exists, or is not "
            f"below this folder. Fix: name them, or others with the same classes, with --data."
        )
    # Everything that the run accepted, such as unreadable files, is accepted again.
    layout = data.layout if data.layout != "auto" else recorded.get("layout", "auto")
    return replace(data, location=source, layout=layout, max_bad_files=1.0)
