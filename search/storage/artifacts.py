"""Keeps results outside the machine that produced them: in a shared folder or an S3 bucket.

Optuna's artifact stores hold the files, the study records which ones are its own, and the dashboard
shows them. `optuna.artifacts.upload_artifact` is not used: it records an artifact before it writes
the file, so a crash in between leaves a record without a file.
"""

import hashlib
import io
import json
import mimetypes
import re
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX, DEFAULT_MIME_TYPE
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

_S3 = re.compile(r"s3://(?P<name>[^/?#]+)(?P<prefix>(/[^?#]*)?)")
# Also "s3:/bucket", which would otherwise create a folder of that name.
_URL = re.compile(r"s3:|\w+://")
_COMPLETE = "metrics.json"
_SHOWN_WITH_THE_WINNER = ("learning_curve.png", "confusion_matrix.png")
# In the study's system attributes, where the dashboard looks as well. Optuna keeps a trial's
# artifacts in the trial's attributes, which cannot be written once it is finished.
TRIAL_ARTIFACTS_PREFIX = "dashboard:artifacts:"
# Stands next to the results while a retraining runs.
_NOT_A_RESULT = "retraining.json"
_S3_SECONDS_TO_CONNECT = 5
_S3_SECONDS_TO_ANSWER = 60
_S3_ATTEMPTS = 3


@dataclass(frozen=True, eq=False)
class Artifacts:
    """An artifact store, and the location it was opened from."""

    location: str
    store: "ArtifactStore"


def open_artifacts(location: str | Path, *, check: bool = True) -> Artifacts:
    """Opens FOLDER or s3://BUCKET/PREFIX, and tests it by writing and removing a small file.

    The account and endpoint of an S3-compatible store come from the standard variables:
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3, AWS_PROFILE and so on. Raises
    UserError for a location that cannot be used; without `check` the location is not accessed.
    """
    shown = str(location)
    bucket = _S3.fullmatch(shown)
    if not shown or (bucket is None and _URL.match(shown)):
        raise UserError(
            f"Artifacts are stored in a folder or below s3://BUCKET/PREFIX; received {shown!r}."
        )
    try:
        store: ArtifactStore = (
            _Prefixed(_open_bucket(bucket["name"]), bucket["prefix"].strip("/"))
            if bucket
            else _WholeFiles(user_path(location).resolve())
        )
        if check:
            _try_out(store)
    except ImportError as error:
        raise UserError(
            f"Artifacts in {shown} need boto3, which is not installed. Fix: pip install boto3"
        ) from error
    except store_errors() as error:
        raise _unusable(shown, error) from error
    except ValueError as error:  # boto3 raises it for an invalid endpoint
        raise _unusable(shown, error) from error
    return Artifacts(shown, store)


def keep_results(
    study: optuna.Study, directory: str | Path, artifacts: Artifacts, *, winner: int | None = None
) -> list[str]:
    """Stores the files of a finished run as artifacts of its study; returns the artifacts' names.

    The names are RUN_FILE, since a study may have several runs. Unchanged files are not written
    again; changed ones are replaced. The learning curve and the confusion matrix also become
    artifacts of the `winner`, the trial of that number, for its page in the dashboard. Raises
    UserError if the store fails; the run's own folder is complete in any case.
    """
    directory, store = Path(directory).resolve(), artifacts.store
    files = [
        path
        for path in directory.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name != _NOT_A_RESULT
    ]
    names = []
    try:
        for path in sorted(files, key=lambda path: (path.name == _COMPLETE, path.name)):
            names.append(_keep(study, path, f"{directory.name}_{path.name}", store))
        if winner is not None:
            trial = study.get_trials(deepcopy=False)[winner]
            for path in (path for path in files if path.name in _SHOWN_WITH_THE_WINNER):
                _keep(study, path, f"{directory.name}_{path.name}", store, trial=trial)
    except store_errors() as error:
        raise UserError(
            f"The results in {directory} could not be copied to {artifacts.location}: {error}. "
            f"Fix: copy them yourself, or choose another place with --artifacts."
        ) from error
    return names


def artifacts_of(study: optuna.Study) -> list[ArtifactMeta]:
    """Returns the artifacts of a study, without those deleted in the dashboard.

    `optuna.artifacts.get_all_artifact_meta` fails on deleted ones.
    """
    return _recorded(study, ARTIFACTS_ATTR_PREFIX)


def _recorded(study: optuna.Study, prefix: str) -> list[ArtifactMeta]:
    attributes = study._storage.get_study_system_attrs(study._study_id)
    notes = [json.loads(value) for key, value in attributes.items() if key.startswith(prefix)]
    return [ArtifactMeta(**note) for note in notes if note is not None]


def store_errors() -> tuple[type[Exception], ...]:
    """Returns the exceptions that the stores raise if they are unreachable or deny access."""
    try:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return (OSError, ArtifactNotFound)
    return (OSError, ArtifactNotFound, Boto3Error, BotoCoreError, ClientError)


def _keep(
    study: optuna.Study,
    path: Path,
    name: str,
    store: "ArtifactStore",
    *,
    trial: FrozenTrial | None = None,
) -> str:
    prefix = ARTIFACTS_ATTR_PREFIX
    if trial is not None:
        prefix = f"{TRIAL_ARTIFACTS_PREFIX}{trial._trial_id}:"
    # A file of its own for each: the dashboard deletes the files of a study and of its trials.
    owner = study.study_name if trial is None else f"{study.study_name}/{trial.number}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # The same file has the same id, so it is written and recorded once.
    identifier = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{owner}/{name}/{digest}"))
    earlier = [artifact for artifact in _recorded(study, prefix) if artifact.filename == name]
    known = any(artifact.artifact_id == identifier for artifact in earlier)
    if not (known and _holds(store, identifier)):
        with path.open("rb") as file:
            store.write(identifier, file)
        kind, encoding = mimetypes.guess_type(name)
        artifact = ArtifactMeta(identifier, name, kind or DEFAULT_MIME_TYPE, encoding)
        _note(study, f"{prefix}{identifier}", asdict(artifact))
    for artifact in earlier:
        if artifact.artifact_id != identifier:
            # A record cannot be removed; set it to null as the dashboard does to delete.
            _note(study, f"{prefix}{artifact.artifact_id}", None)
            with suppress(ArtifactNotFound):
                store.remove(artifact.artifact_id)
    return name


def _note(study: optuna.Study, key: str, note: dict[str, Any] | None) -> None:
    study._storage.set_study_system_attr(study._study_id, key, json.dumps(note))


def _holds(store: "ArtifactStore", identifier: str) -> bool:
    try:
        store.open_reader(identifier).close()
    except ArtifactNotFound:
        return False
    return True


def _unusable(location: str, error: Exception) -> UserError:
    return UserError(
        f"Artifacts need a place where files can be written, read and removed; {location}: "
        f"{error}. Fix: repair it, or choose another with --artifacts FOLDER or s3://BUCKET/PREFIX."
    )


def _try_out(store: "ArtifactStore") -> None:
    name, content = f"trial-file-{uuid.uuid4()}", b"written to test this artifact store"
    store.write(name, io.BytesIO(content))
    with store.open_reader(name) as file:
        if file.read() != content:
            raise OSError("a file read back differs from what was written")
    store.remove(name)


def _open_bucket(name: str) -> "ArtifactStore":
    import boto3
    from botocore.config import Config
    from optuna.artifacts import Boto3ArtifactStore

    settings = Config(
        connect_timeout=_S3_SECONDS_TO_CONNECT,
        read_timeout=_S3_SECONDS_TO_ANSWER,
        retries={"mode": "standard", "total_max_attempts": _S3_ATTEMPTS},
        # S3-compatible stores may not support the checksums that boto3 adds by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # The copy would take as much memory as the file is large.
    return Boto3ArtifactStore(name, boto3.client("s3", config=settings), avoid_buf_copy=True)


class _Prefixed:
    """A part of a store: all names that begin with a prefix."""

    def __init__(self, store: "ArtifactStore", prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""

    def open_reader(self, artifact_id: str) -> BinaryIO:
        return self._store.open_reader(self._prefix + artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._store.write(self._prefix + artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        self._store.remove(self._prefix + artifact_id)


class _WholeFiles:
    """Optuna's file system store with atomic writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = FileSystemArtifactStore(folder)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        return self._store.open_reader(artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        target = self._folder / artifact_id
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = self._partial(target)
        try:
            self._store.write(str(partial.relative_to(self._folder)), content_body)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, artifact_id: str) -> None:
        self._partial(self._folder / artifact_id).unlink(missing_ok=True)
        self._store.remove(artifact_id)

    def _partial(self, target: Path) -> Path:
        """Returns the temporary path of a file. It is always the same, so kills leave only one."""
        return target.with_name(f".{target.name}.partial")
