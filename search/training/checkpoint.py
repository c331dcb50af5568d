"""The whole state of a training in one file, written atomically."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.system.files import whole_file

Arrays = list[npt.NDArray[Any]]


class Checkpoint:
    """Reads and writes `checkpoint.npz` in a folder.

    `identity` identifies the training; the file of another training is not read. `arrays` are
    named lists of arrays, `state` is JSON.
    """

    def __init__(self, directory: Path, *, identity: str) -> None:
        self.path = directory / "checkpoint.npz"
        self.identity = identity

    def write(self, state: dict[str, Any], arrays: dict[str, Arrays]) -> None:
        """Replaces the file with this state; if writing fails (OSError), the old file stays."""
        header = json.dumps({"identity": self.identity, "state": state})
        flat = {
            f"{name}/{i}": array for name, group in arrays.items() for i, array in enumerate(group)
        }
        with whole_file(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.array(header), **flat)  # type: ignore[arg-type]

    def read(self) -> tuple[dict[str, Any], dict[str, Arrays]] | None:
        """Returns the state and the arrays, or None without a readable file of this training."""
        try:
            return self._read()
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            # Missing, or damaged by a power failure: the training starts over.
            return None

    def _read(self) -> tuple[dict[str, Any], dict[str, Arrays]] | None:
        with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if header["identity"] != self.identity:
                return None
            arrays: dict[str, Arrays] = {}
            for key in file.files:
                if key != "header":
                    arrays.setdefault(key.rsplit("/", 1)[0], []).append(file[key])
        return header["state"], arrays
