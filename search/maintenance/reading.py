"""Opens databases read-only: changes nothing in them and creates none."""

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
    "stop all searches and restore a backup, or save what is readable: "
    "sqlite3 {path} .recover | sqlite3 NEW.db"
)


@contextmanager
def open_for_reading(url: str) -> Iterator[RDBStorage]:
    """Opens a database of studies read-only, and closes it after the block.

    Raises UserError if there is none, or if another version of Optuna wrote it.
    """
    parsed = database_url(url)
    shown = parsed.render_as_string(hide_password=True)
    options = _reading_options(parsed)
    with explained(parsed):
        engine = create_engine(parsed, **options)
        try:
            if not inspect(engine).has_table(_LAST_TABLE):
                raise UserError(
                    f"The storage must hold studies; the database {shown!r} has no Optuna tables. "
                    f"Fix: correct its name, or start a search in it with --storage URL."
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
    """Parses the URL of a database; raises UserError for a storage server (grpc://)."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "grpc":
        raise UserError(
            f"This needs the database itself; received {url!r}, a storage server. Fix: give the "
            f"database that it serves, as sqlite:///FILE or postgresql+psycopg://..."
        )
    return parsed


def sqlite_file(url: URL) -> Path:
    """Returns the file of an SQLite database; raises UserError if there is none."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise UserError(
            f"The storage must be a file; received {str(url)!r}. "
            f"Fix: write sqlite:///PATH/TO/FILE.db"
        )
    path = Path(name)
    # Only SQLite may open the file: closing any other handle drops this process's locks on it.
    if not path.is_file() or not os.access(path, os.R_OK):
        state = "is not readable for this user" if path.is_file() else "does not exist"
        raise UserError(
            f"The storage must be a readable file; {path} {state}. Fix: give another one with "
            f"--storage sqlite:///PATH"
        )
    return path


@contextmanager
def reading_connection(path: Path) -> Iterator[sqlite3.Connection]:
    """Connects to an SQLite file inside the block; the connection cannot write."""
    connection = _connector(path)()
    try:
        yield connection
    finally:
        connection.close()


def sqlite_damage(path: Path) -> list[Damage]:
    """Returns the damage that SQLite's own checks find in a file; reads the whole file."""
    fix = _SALVAGE.format(path=printed_command(str(path)))
    try:
        with reading_connection(path) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        # A locked or inaccessible file does not mean damaged content.
        if isinstance(error, sqlite3.OperationalError):
            raise
        return [Damage(f"{path} cannot be read as a database: {error}", fix)]
    damage = [] if found == ["ok"] else [Damage(f"{path}: {line}", fix) for line in found]
    if orphans:
        tables = ", ".join(sorted({str(row[0]) for row in orphans}))
        damage.append(Damage(f"{path}: {len(orphans)} rows of {tables} refer to missing rows", fix))
    return damage


def study_names(connection: Connection, study: str | None = None) -> list[str]:
    """Returns the names of a database's studies, or only the requested one.

    Raises UserError if the requested study does not exist.
    """
    column = models.StudyModel.__table__.c.study_name
    names = [str(name) for name in connection.scalars(select(column).order_by(column))]
    if study is None:
        return names
    if study not in names:
        near = difflib.get_close_matches(study, names, n=3) or names[:5]
        raise UserError(
            f"A study must be in the storage; received {study!r}, but there "
            f"{'is ' + ', '.join(repr(name) for name in near) if near else 'are no studies'}. "
            f"Fix: run `check` to see all studies."
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
    # If there is no write-ahead log, the reader has to create it, and only a connection with write
    # access removes it again. If there is one, a read-only connection leaves it to its users.
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
