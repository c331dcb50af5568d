"""The interface of an export format: it writes a file and opens it in its runtime."""

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
# Maps one batch of images (N, height, width, 3) to probabilities (N, classes).
Predict: TypeAlias = Callable[[Images], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model to export.

    `path` is its .keras file and `network` the model loaded from it; `class_names` are in the
    order of its outputs. `calibration` (N, height, width, 3) holds real images that set the value
    ranges of int8 formats.
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
        file: The file that programs open, relative to the folder of the exports. If it is in its
            own folder, that whole folder is the export.
        runtime: The distribution that opens it.
        modules: Modules that must be importable in addition to this project's dependencies.
        is_exact: Whether outputs have float32 precision; reduced precision is judged by accuracy.
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
