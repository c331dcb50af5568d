"""Checkpoints kept where every machine finds them, so that a trial goes on on another one."""

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
    """Carries checkpoints to and from an artifact store.

    A store that fails costs at most the epochs since the last checkpoint that arrived there: `warn`
    is told once for each time that it begins to fail, and the training goes on. What is carried is
    whole: a checkpoint file is replaced, never written into, and so are the stores' files.
    """

    def __init__(self, artifacts: Artifacts, *, warn: Callable[[str], None]) -> None:
        self._artifacts = artifacts
        self._warn = warn
        self._pushed: dict[str, tuple[int, int, int]] = {}
        self._failing = False

    def push(self, folder: Path, name: str) -> bool:
        """Keeps the checkpoint in a trial's folder under a name; returns whether it is kept.

        One that has not changed since the last time is not sent again.
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
        """Forgets the checkpoint of a name, if there is one; returns whether none is left."""
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
    """Opens the place where several machines keep their checkpoints; None where none is named."""
    if location is None:
        return None
    return SharedCheckpoints(open_artifacts(location, check=False), warn=progress.warning)


def _key(name: str) -> str:
    return f"{_FOLDER}/{name}.npz"
