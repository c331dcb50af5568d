"""Checkpoints in an artifact store, so that another machine can continue a trial."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from optuna.artifacts.exceptions import ArtifactNotFound

from search.progress.events import Progress
from search.storage.artifacts import Artifacts, open_artifacts, store_errors
from search.system.files import whole_file

_CHECKPOINT = "checkpoint.npz"
_FOLDER = "checkpoints"


class SharedCheckpoints:
    """Copies checkpoints to and from an artifact store.

    If the store fails, training continues and `warn` is called once per outage; at most the epochs
    since the last stored checkpoint are lost. Copies are always complete, because checkpoint files
    and the stores' files are replaced, never modified.
    """

    def __init__(self, artifacts: Artifacts, *, warn: Callable[[str], None]) -> None:
        self._artifacts = artifacts
        self._warn = warn
        self._pushed: dict[str, tuple[int, int, int]] = {}
        self._failing = False

    def push(self, folder: Path, name: str) -> bool:
        """Stores the checkpoint in a trial's folder under a name; returns whether it is stored.

        One that has not changed since the last call is not sent again.
        """
        if not (folder / _CHECKPOINT).exists():
            return False
        try:
            with (folder / _CHECKPOINT).open("rb") as file:
                status = os.fstat(file.fileno())
                version = status.st_ino, status.st_mtime_ns, status.st_size
                if self._pushed.get(name) != version:
                    self._artifacts.store.write(_key(name), file)
                    self._pushed[name] = version
        except store_errors() as error:
            self._tell("A checkpoint could not be kept in", error)
            return False
        self._failing = False
        return True

    def pull(self, name: str, folder: Path) -> bool:
        """Fetches the checkpoint of a name into a trial's folder; returns whether one is there.

        A checkpoint that the folder already has stays.
        """
        if (folder / _CHECKPOINT).exists():
            return True
        try:
            with (
                self._artifacts.store.open_reader(_key(name)) as kept,
                whole_file(folder / _CHECKPOINT) as temporary,
                temporary.open("wb") as file,
            ):
                shutil.copyfileobj(kept, file)
        except ArtifactNotFound:
            return False
        except store_errors() as error:
            self._tell("A checkpoint could not be fetched from", error)
            return False
        self._failing = False
        return True

    def remove(self, name: str) -> bool:
        """Removes the checkpoint of a name, if there is one; returns whether none is left."""
        self._pushed.pop(name, None)
        try:
            self._artifacts.store.remove(_key(name))
        except ArtifactNotFound:
            return True
        except store_errors() as error:
            self._tell("A checkpoint could not be removed from", error)
            return False
        return True

    def _tell(self, what: str, error: Exception) -> None:
        if not self._failing:
            self._warn(f"{what} {self._artifacts.location}: {error}")
        self._failing = True


def shared_checkpoints(location: str | None, progress: Progress) -> SharedCheckpoints | None:
    """Opens the store that several machines share; None if there is none."""
    if location is None:
        return None
    return SharedCheckpoints(open_artifacts(location, check=False), warn=progress.warning)


def _key(name: str) -> str:
    return f"{_FOLDER}/{name}.npz"
