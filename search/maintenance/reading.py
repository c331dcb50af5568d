"""Databases opened to be read: nothing in them is changed, and none is made."""

import difflib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import URL, Connection, create_engine, inspect, select

from cnn_blocks.errors import UserError
from search.maintenance.damage import Damage
from search.storage.opening import explained, parse_url
from search.storage.servers import connection_options
from search.system.printed_command import printed_command

_BUSY_SECONDS = 60.0
_LAST_TABLE = "alembic_version"
_SALVAGE = (
    "Stop all searches and restore a backup, or save what can be read: "
    "sqlite3 {path} .recover | sqlite3 NEW.db"
)


@contextmanager
def open_for_reading(url: str) -> Iterator[RDBStorage]:
    """Opens a database of studies whose engine cannot write, and closes it after the block.

    Raises UserError where there is none, or one that another version of Optuna wrote.
    """
    parsed = database_url(url)
    shown = parsed.render_as_string(hide_password=True)
    options = _reading_options(parsed)
    with explained(parsed):
        engine = create_engine(parsed, **options)
        try:
            if not inspect(engine).has_table(_LAST_TABLE):
                raise UserError(
                    f"The storage must hold studies; the database {shown!r} has no tables of "
                    f"Optuna. Correct its name, or begin a search in it with --storage URL."
                )
            storage = RDBStorage(
                parsed.render_as_string(hide_password=False),
                engine_kwargs=options,
                skip_table_creation=True,
            )
        finally:
            engine.dispose()
    try:
        yield storage
    finally:
        storage.scoped_session.remove()
        storage.engine.dispose()


def database_url(url: str) -> URL:
    """Parses the URL of a database; UserError for a server in front of one."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "grpc":
        raise UserError(
            f"This needs the database itself; received {url!r}, a server in front of one. Name the "
            f"database that it serves, as sqlite:///FILE or postgresql+psycopg://..."
        )
    return parsed


def sqlite_file(url: URL) -> Path:
    """Returns the file of an SQLite database; UserError where there is none."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise UserError(
            f"The storage must be a file; received {str(url)!r}. Write sqlite:///PATH/TO/FILE.db"
        )
    path = Path(name)
    # Only SQLite may open it: closing any other handle drops this process' locks on the file.
    if not path.is_file() or not os.access(path, os.R_OK):
        state = "cannot be read by this user" if path.is_file() else "is not there"
        raise UserError(
            f"The storage must be a file that can be read; {path} {state}. Name another one with "
            f"--storage sqlite:///PATH"
        )
    return path


@contextmanager
def reading_connection(path: Path) -> Iterator[sqlite3.Connection]:
    """Connects to an SQLite file for the block; it cannot be written through the connection."""
    connection = _connector(path)()
    try:
        yield connection
    finally:
        connection.close()


def sqlite_damage(path: Path) -> list[Damage]:
    """Returns what SQLite itself finds wrong in a file; reads all of it."""
    fix = _SALVAGE.format(path=printed_command(str(path)))
    try:
        with reading_connection(path) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        # A file that is locked or may not be opened says nothing of its content.
        if isinstance(error, sqlite3.OperationalError):
            raise
        return [Damage(f"{path} cannot be read as a database: {error}", fix)]
    damage = [] if found == ["ok"] else [Damage(f"{path}: {line}", fix) for line in found]
    if orphans:
        tables = ", ".join(sorted({str(row[0]) for row in orphans}))
        damage.append(
            Damage(f"{path}: {len(orphans)} rows of {tables} belong to nothing that exists", fix)
        )
    return damage


def study_names(connection: Connection, study: str | None = None) -> list[str]:
    """Returns the names of a database's studies, or the one that is asked for.

    Raises UserError where it is not there.
    """
    column = models.StudyModel.__table__.c.study_name
    names = [str(name) for name in connection.scalars(select(column).order_by(column))]
    if study is None:
        return names
    if study not in names:
        near = difflib.get_close_matches(study, names, n=3) or names[:5]
        raise UserError(
            f"A study must be in the storage; received {study!r}, and there "
            f"{'is ' + ', '.join(repr(name) for name in near) if near else 'are no studies'}. "
            f"`check` shows all."
        )
    return [study]


def _reading_options(url: URL) -> dict[str, Any]:
    match url.get_backend_name():
        case "sqlite":
            return {"creator": _connector(sqlite_file(url))}
        case "postgresql":
            return {
                "isolation_level": "REPEATABLE READ",
                "execution_options": {"postgresql_readonly": True},
                "connect_args": connection_options(url),
            }
        case _:
            return {"isolation_level": "REPEATABLE READ"}


def _connector(path: Path) -> Callable[[], sqlite3.Connection]:
    # A reader of a write-ahead log that is not there has to make it: only a connection that may
    # write removes it again. One that may not leaves a log alone that somebody else needs.
    mode = "ro" if path.with_name(f"{path.name}-wal").exists() else "rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True,
            timeout=_BUSY_SECONDS,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only=ON")
        return connection

    return connect
