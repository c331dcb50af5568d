"""The interface of an export format: how a file is written, and how its runtime opens it."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

    from search.data import Decoding

Images: TypeAlias = npt.NDArray[np.uint8]
# One batch (N, height, width, 3) of images to probabilities (N, classes).
Predict: TypeAlias = Callable[[Images], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model to export.

    `path` is its .keras file and `network` what Keras loaded from it; `class_names` are in the
    order of its outputs. `calibration` (N, height, width, 3) holds real images from which int8
    formats take their ranges.
    """

    path: Path
    network: keras.Model
    class_names: tuple[str, ...]
    decoding: Decoding
    calibration: Images


@dataclass(frozen=True)
class Format(ABC):
    """A file format for models.

    Attributes:
        name: Identifies it in exports.json.
        file: The file that programs open, relative to the folder of the exports. Where it lies in
            a folder of its own, that whole folder is the export.
        runtime: The distribution that opens it.
        modules: What must be importable beside this project's own dependencies.
        is_exact: Whether outputs are those of float32; reduced precision is judged by accuracy.
    """

    name: str
    file: str
    runtime: str
    modules: tuple[str, ...] = ()
    is_exact: bool = True

    @abstractmethod
    def write(self, model: TrainedModel, path: Path) -> None:
        """Writes a model to `path`, whose folder exists."""

    @abstractmethod
    def load(self, path: Path) -> Predict:
        """Opens a file in its own runtime, on the CPU."""

    @property
    def root(self) -> str:
        """The file or folder that holds the whole export."""
        return Path(self.file).parts[0]

    @property
    def runtime_version(self) -> str:
        """The runtime's name and version."""
        return f"{self.runtime} {importlib.metadata.version(self.runtime)}"
