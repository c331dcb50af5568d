"""Copies studies from one database to another, row by row.

optuna.copy_study first creates the named study and then adds trials one at a time, while other
processes may write. An interrupted copy then looks like a complete study, and times in the hour
when clocks are set back in autumn change. Here everything is read in one transaction and written in
one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import URL, Connection, Table, create_engine, event, func, insert, select
from sqlalchemy import exc as sqlalchemy_errors

from cnn_blocks.errors import UserError
from search.maintenance.reading import database_url, open_for_reading, study_names
from search.maintenance.running import RunningTrial, running_trial
from search.storage.attributes import TrialAttribute, system_key
from search.storage.connections import one_line
from search.storage.dashboard import renumbered
from search.storage.opening import explained, open_storage

_ROWS = 1000
_BUSY_SECONDS = 60.0
_TABLES: dict[str, Table] = models.BaseModel.metadata.tables
_STUDIES, _TRIALS = _TABLES["studies"], _TABLES["trials"]
_STUDY_SYSTEM_ATTRIBUTES = _TABLES["study_system_attributes"]


@dataclass(frozen=True, kw_only=True)
class CopiedStudy:
    """A copied study; `running` are its RUNNING trials, copied unchanged."""

    name: str
    trials: int
    running: Sequence[RunningTrial]


def copy_studies(
    source: str, target: str, *, study: str | None = None, with_running: bool = False
) -> list[CopiedStudy]:
    """Copies all studies of a database, or one, into another database; all of them or none.

    Everything is kept: names, trial numbers, states, values, parameters, attributes, intermediate
    values, times and the dashboard's notes. A RUNNING trial whose process is gone is copied
    unchanged, and the next search on the target continues it. A RUNNING trial that may still have a
    worker raises UserError, because the worker would write only to the source; `with_running`
    copies it anyway. A study name that the target already has also raises UserError. In both cases
    nothing is changed.
    """
    from_url, to_url = database_url(source), database_url(target)
    with (
        explained(from_url),
        open_for_reading(source) as reading,
        reading.engine.connect() as reader,
    ):
        if from_url.get_backend_name() == "sqlite":
            # Python's sqlite3 does not begin a transaction for reads.
            reader.exec_driver_sql("BEGIN")
        studies = [_study_row(reader, name) for name in study_names(reader, study)]
        if not studies:
            shown = from_url.render_as_string(hide_password=True)
            raise UserError(
                f"A copy needs a study; there is none in {shown!r}. Fix: correct the URL in --from."
            )
        running = [_running(reader, row["study_id"]) for row in studies]
        if not with_running:
            for row, trials in zip(studies, running, strict=True):
                _refuse_live(row["study_name"], trials)
        with explained(to_url), _writer(target) as writer:
            _refuse_duplicates(writer, studies, to_url)
            return [
                CopiedStudy(
                    name=row["study_name"], trials=_copy_study(reader, writer, row), running=trials
                )
                for row, trials in zip(studies, running, strict=True)
            ]


@contextmanager
def _writer(url: str) -> Iterator[Connection]:
    """Connects to the target in one transaction, which is committed if the block succeeds."""
    storage: Any = open_storage(url)  # creates the tables
    parsed = database_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        storage.engine.dispose()
    engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS} if sqlite else {})
    if sqlite:

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # Take the write lock first: names are compared before they are written.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            yield connection
    except sqlalchemy_errors.SQLAlchemyError as error:
        shown = parsed.render_as_string(hide_password=True)
        raise UserError(
            f"A copy needs a target that accepts every row; {shown!r} reports: {one_line(error)}. "
            f"Nothing was copied. Fix: repair the target and run the command again."
        ) from error
    finally:
        engine.dispose()


def _study_row(reader: Connection, name: str) -> dict[str, Any]:
    found = reader.execute(select(_STUDIES).where(_STUDIES.c.study_name == name))
    return dict(found.mappings().one())


def _running(reader: Connection, study_id: int) -> list[RunningTrial]:
    """Returns the RUNNING trials of a study and the processes that own them."""
    now, earlier = _TABLES["trial_system_attributes"], _TABLES["trial_user_attributes"]
    leases = select(_TRIALS.c.number, func.coalesce(now.c.value_json, earlier.c.value_json))
    for table, key in ((now, system_key(TrialAttribute.LEASE)), (earlier, TrialAttribute.LEASE)):
        leases = leases.outerjoin(
            table, (table.c.trial_id == _TRIALS.c.trial_id) & (table.c.key == key)
        )
    leases = leases.where(_TRIALS.c.study_id == study_id, _TRIALS.c.state == TrialState.RUNNING)
    leases = leases.order_by(_TRIALS.c.number)
    return [
        running_trial(number, None if lease is None else json.loads(lease))
        for number, lease in reader.execute(leases)
    ]


def _refuse_live(name: str, running: Sequence[RunningTrial]) -> None:
    live = [trial for trial in running if trial.holder != "gone"]
    if live:
        raise UserError(
            f"A study can be copied while no process works on it; {name!r} has a running "
            f"{live[0].describe()}{f' (and {len(live) - 1} more)' if live[1:] else ''}. Fix: stop "
            f"its searches first (Ctrl-C), or copy such trials unchanged with --with-running. "
            f"`backup` saves an SQLite storage that is in use."
        )


def _refuse_duplicates(
    writer: Connection, studies: Sequence[Mapping[str, Any]], target: URL
) -> None:
    there = sorted({row["study_name"] for row in studies} & set(study_names(writer)))
    if there:
        raise UserError(
            f"A copy never changes a study; {target.render_as_string(hide_password=True)!r} "
            f"already has {', '.join(repr(name) for name in there[:5])}. Fix: choose another "
            f"target, or another study with --study NAME."
        )


def _copy_study(reader: Connection, writer: Connection, study: dict[str, Any]) -> int:
    """Copies a study with all its rows; returns the number of trials."""
    old = study["study_id"]
    new = _insert_one(writer, _STUDIES, study)
    trials: dict[int, int] = {}
    for row in _rows(reader, _TRIALS, _TRIALS.c.study_id == old):
        # In the order of the old ids, because a trial's number counts the smaller ids.
        trials[row["trial_id"]] = _insert_one(writer, _TRIALS, {**row, "study_id": new})
    for table in models.BaseModel.metadata.sorted_tables:
        if table in (_STUDIES, _TRIALS):
            continue
        if "study_id" in table.c:
            found = _rows(reader, table, table.c.study_id == old)
            if table is _STUDY_SYSTEM_ATTRIBUTES:
                found = ({**row, "key": renumbered(row["key"], trials)} for row in found)
            _insert(writer, table, ({**row, "study_id": new} for row in found))
        elif "trial_id" in table.c:
            belongs = table.c.trial_id.in_(
                select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == old)
            )
            found = _rows(reader, table, belongs)
            _insert(writer, table, ({**row, "trial_id": trials[row["trial_id"]]} for row in found))
    return len(trials)


def _rows(reader: Connection, table: Table, belongs: Any) -> Iterator[dict[str, Any]]:
    key = next(iter(table.primary_key))
    statement = select(table).where(belongs).order_by(key).execution_options(yield_per=_ROWS)
    try:
        for row in reader.execute(statement).mappings():
            yield dict(row)
    except (sqlalchemy_errors.SQLAlchemyError, LookupError) as error:
        raise UserError(
            f"A copy needs a readable source; its table {table.name} is not: {one_line(error)}. "
            f"Nothing was copied. Fix: run `check` to see what is damaged."
        ) from error


def _insert_one(writer: Connection, table: Table, row: dict[str, Any]) -> int:
    result = writer.execute(insert(table), _without_key(table, row))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def _insert(writer: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    for batch in iter(lambda: list(islice(rows, _ROWS)), []):
        writer.execute(insert(table), [_without_key(table, row) for row in batch])


def _without_key(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    key = next(iter(table.primary_key)).name
    return {name: value for name, value in row.items() if name != key}
