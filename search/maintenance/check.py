"""Checks a storage for damage and reports its content."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts._protocol import ArtifactStore
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, select, text
from sqlalchemy import exc as sqlalchemy_errors

from cnn_blocks.errors import UserError
from search.maintenance.damage import Damage
from search.maintenance.reading import (
    database_url,
    open_for_reading,
    sqlite_damage,
    sqlite_file,
    study_names,
)
from search.maintenance.running import RunningTrial, running_trial
from search.storage.artifacts import TRIAL_ARTIFACTS_PREFIX, open_artifacts, store_errors
from search.storage.attributes import TrialAttribute, trial_attribute
from search.storage.connections import one_line
from search.storage.opening import explained
from search.trials.outcomes import count_outcomes

_RESTORE = "restore a backup of the storage, or copy its other studies into a new one"
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True, kw_only=True)
class StudyCheck:
    """The content of a study; `best_value` is None for several objectives or without a result.

    `missing_artifacts` are the recorded files that the artifact store does not contain.
    """

    name: str
    directions: Sequence[str]
    states: Mapping[str, int]
    outcomes: Mapping[str, int]
    best_value: float | None
    best_trial: int | None
    running: Sequence[RunningTrial]
    artifacts: int
    missing_artifacts: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class StorageCheck:
    """The result of a check; sizes in bytes, `journal_mode` for SQLite only."""

    storage: str
    database: str
    schema_version: str | None = None
    journal_mode: str | None = None
    size_bytes: int | None = None
    studies: Sequence[StudyCheck] = ()
    damage: Sequence[Damage] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


def check_storage(
    url: str, *, study: str | None = None, artifacts: str | None = None
) -> StorageCheck:
    """Checks all studies of a database, or one; changes nothing.

    Raises UserError if there is no such database or study; damage is part of the report.
    """
    parsed = database_url(url)
    shown = parsed.render_as_string(hide_password=True)
    store = None if artifacts is None else open_store(artifacts)
    with explained(parsed):
        if parsed.get_backend_name() != "sqlite":
            with open_for_reading(url) as storage:
                return _report(storage, shown, [], study=study, store=store)
        path = sqlite_file(parsed)
        damage = sqlite_damage(path)
        try:
            with open_for_reading(url) as storage:
                return _report(storage, shown, damage, study=study, store=store)
        except Exception:
            # The file's damage is already known and explains the failure.
            if not damage:
                raise
        return StorageCheck(
            storage=shown, database="SQLite", size_bytes=path.stat().st_size, damage=damage
        )


def open_store(location: str) -> ArtifactStore:
    """Opens a store of artifacts that exists; UserError for a folder that does not."""
    if "://" not in location and not Path(location).is_dir():
        raise UserError(
            f"Artifacts must be in a folder or below s3://BUCKET/PREFIX; there is no folder "
            f"{location!r}. Fix: correct --artifacts."
        )
    return open_artifacts(location, check=False).store


def _is_missing(store: ArtifactStore, identifier: str) -> bool:
    try:
        store.open_reader(identifier).close()
    except ArtifactNotFound:
        return True
    except store_errors() as error:
        raise UserError(
            f"The artifacts must be readable; received: {error}. Fix: correct --artifacts, or "
            f"leave it out."
        ) from error
    return False


def _report(
    storage: RDBStorage,
    shown: str,
    damage: list[Damage],
    *,
    study: str | None,
    store: ArtifactStore | None,
) -> StorageCheck:
    with storage.engine.connect() as connection:
        names = study_names(connection, study)
        facts = _facts(connection)
    cached, studies = get_storage(storage), []
    for name in names:
        try:
            damage.extend(_wrong_numbers(name, storage))
            studies.append(_study_report(name, cached, damage, store=store))
        except UserError:
            raise
        except Exception as error:
            # A damaged row may make the libraries raise anything. A lost connection is not damage.
            cause = error.__cause__ or error
            if isinstance(cause, sqlalchemy_errors.OperationalError):
                raise
            reason = f"{type(cause).__name__}: {one_line(cause)}"
            damage.append(Damage(f"the study {name!r} cannot be read: {reason}", _RESTORE))
    return StorageCheck(
        storage=shown,
        schema_version=storage.get_current_version(),
        studies=studies,
        damage=damage,
        **facts,
    )


def _facts(connection: Connection) -> dict[str, Any]:
    dialect = connection.dialect
    version = ".".join(str(part) for part in dialect.server_version_info or ())
    facts: dict[str, Any] = {
        "database": f"{_DATABASES.get(dialect.name, dialect.name)} {version}".rstrip()
    }
    if dialect.name == "sqlite":
        facts["journal_mode"] = connection.execute(text("PRAGMA journal_mode")).scalar_one()
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        facts["size_bytes"] = pages * connection.execute(text("PRAGMA page_size")).scalar_one()
    elif dialect.name == "postgresql":
        size = connection.execute(text("SELECT pg_database_size(current_database())"))
        facts["size_bytes"] = size.scalar_one()
    return facts


def _study_report(
    name: str, storage: BaseStorage, damage: list[Damage], *, store: ArtifactStore | None
) -> StudyCheck:
    study = optuna.load_study(study_name=name, storage=storage)
    trials = study.get_trials(deepcopy=False)
    valueless = [
        trial.number
        for trial in trials
        if trial.state is TrialState.COMPLETE and trial.values is None
    ]
    if valueless:
        what = f"COMPLETE trials must have a value; without one: {_some(valueless)}"
        damage.append(Damage(f"the study {name!r}: {what}", _RESTORE))
    best = _best(study)
    of_study = storage.get_study_system_attrs(study._study_id)
    records = [of_study, *(trial.system_attrs for trial in trials)]
    notes = [
        json.loads(record)
        for attributes in records
        for key, record in attributes.items()
        if key.startswith((ARTIFACTS_ATTR_PREFIX, TRIAL_ARTIFACTS_PREFIX))
    ]
    # The dashboard replaces the record of a deleted artifact by null.
    stored = [note for note in notes if note is not None]
    return StudyCheck(
        name=name,
        directions=[direction.name.lower() for direction in study.directions],
        states=dict(Counter(trial.state.name for trial in trials)),
        outcomes={outcome.value: count for outcome, count in count_outcomes(study).items()},
        best_value=None if best is None else best.value,
        best_trial=None if best is None else best.number,
        running=[
            running_trial(trial.number, trial_attribute(trial, TrialAttribute.LEASE))
            for trial in trials
            if trial.state is TrialState.RUNNING
        ],
        artifacts=len(stored),
        missing_artifacts=[
            f"{record['filename']} ({record['artifact_id']})"
            for record in stored
            if store is not None and _is_missing(store, record["artifact_id"])
        ],
    )


def _wrong_numbers(name: str, storage: RDBStorage) -> Iterator[Damage]:
    """Yields damage of trial numbers; read directly, because Optuna's cache hides duplicates."""
    study, trial = models.StudyModel.__table__, models.TrialModel.__table__
    with storage.engine.connect() as connection:
        numbers = connection.scalars(
            select(trial.c.number).join(study).where(study.c.study_name == name)
        ).all()
    if sorted(numbers) == list(range(len(numbers))):
        return
    twice = sorted(number for number, count in Counter(numbers).items() if count > 1)
    missing = sorted(set(range(len(numbers))) - set(numbers))
    yield Damage(
        f"the study {name!r}: trial numbers must be 0 to {len(numbers) - 1}, each once; "
        f"twice: {_some(twice)}, missing: {_some(missing)}",
        _RESTORE,
    )


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:5])
    return f"{shown} and {len(numbers) - 5} more" if len(numbers) > 5 else shown or "none"


def _best(study: optuna.Study) -> FrozenTrial | None:
    if len(study.directions) > 1:
        return None
    try:
        return study.best_trial
    except ValueError:
        return None
