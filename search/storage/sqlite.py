"""SQLite, with several processes writing to one file."""

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import URL, Connection, event

from cnn_blocks.errors import UserError
from search.storage.database import Database, open_database

_BUSY_SECONDS = 60.0
_SECONDS_BETWEEN_ATTEMPTS = 0.1

_log = logging.getLogger(__name__)


def open_sqlite(url: URL) -> "SqliteDatabase":
    """Opens a database file, or makes it; UserError for a file that is none."""
    path = _path(url)
    if path is not None:
        _prepare(path)
    return open_database(
        SqliteDatabase,
        url.render_as_string(hide_password=False),
        engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}},
    )


class SqliteDatabase(Database):
    """Optuna's database storage, with each change of a trial's state under SQLite's write lock.

    Optuna reads the state and then sets it, and relies on SELECT ... FOR UPDATE in between, which
    SQLite ignores: two processes that ask at once get the same waiting trial, and two that tell
    overwrite each other. Here the transaction begins with the lock, so that the state that it read
    is still true when it writes. A lock that is taken is waited for.
    """

    def __init__(
        self, url: str, *, engine_kwargs: dict[str, Any], skip_table_creation: bool = False
    ) -> None:
        super().__init__(url, engine_kwargs=engine_kwargs, skip_table_creation=skip_table_creation)
        self._lock_first()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["_this_thread"]
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._lock_first()

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Sets a trial's state; of several processes that claim one, a single one succeeds."""
        self._this_thread.changes_state = True
        try:
            return super().set_trial_state_values(trial_id, state, values)
        finally:
            self._this_thread.changes_state = False

    def _lock_first(self) -> None:
        this_thread = self._this_thread = threading.local()

        @event.listens_for(self.engine, "begin")
        def begin(connection: Connection) -> None:
            # Python's sqlite3 begins a transaction only before the first change, after the reads;
            # one that is begun here is left as it is.
            if getattr(this_thread, "changes_state", False):
                connection.exec_driver_sql("BEGIN IMMEDIATE")


def _path(url: URL) -> Path | None:
    """Returns the database file; None where it lives in memory or is given as a file: URI."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name)


def _prepare(path: Path) -> None:
    """Makes the folder, and sets readers and the writer free of waiting for each other.

    The file remembers the latter, so that every later connection, of other programs too, does it.
    """
    _require_access(path)
    # Only SQLite may open the file: closing any other handle drops this process' locks on it, and
    # then another process deletes the log that this one still writes to.
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        mode = _write_ahead(connection)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise UserError(
            f"The storage must be an SQLite database; {path} is something else, or its beginning "
            f"is damaged. Restore it from a backup, or choose another file with "
            f"--storage sqlite:///PATH"
        ) from error
    finally:
        if connection is not None:
            connection.close()
    if mode != "wal":
        _log.warning(
            "%s stays in journal mode %r: its file system takes no write-ahead log, and processes "
            "wait for each other. Move it to a local disk, or use a server with --storage URL.",
            path,
            mode,
        )


def _write_ahead(connection: sqlite3.Connection) -> str:
    """Sets the journal mode, and returns the one that the file now has.

    Where another process writes to a file without the log, SQLite refuses at once, whatever the
    timeout is.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= deadline:
                raise
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS)


def _require_access(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        for place in (path, path.parent):
            if place.exists() and not os.access(place, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, f"{place} is read-only or closed to this user")
    except OSError as error:
        raise UserError(
            f"The storage's file and its folder must be readable and writable; {path}: "
            f"{error.strerror}. Make them so, or choose another place with "
            f"--storage sqlite:///PATH"
        ) from error
