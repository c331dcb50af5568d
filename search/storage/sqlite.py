"""SQLite storage with several processes writing to one file."""

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
    """Opens or creates a database file; raises UserError for a file of another kind."""
    path = _path(url)
    if path is not None:
        _prepare(path)
    return open_database(
        SqliteDatabase,
        url.render_as_string(hide_password=False),
        engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}},
    )


class SqliteDatabase(Database):
    """Optuna's RDB storage, which changes a trial's state under SQLite's write lock.

    Optuna reads the state and then sets it, and relies on SELECT ... FOR UPDATE in between, which
    SQLite ignores. Two processes that call `ask` at once would get the same waiting trial, and two
    that call `tell` would overwrite each other. Here the transaction takes the lock first (and
    waits for it if needed), so the state cannot change between read and write.
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
        """Sets a trial's state; if several processes claim a trial, exactly one succeeds."""
        self._this_thread.changes_state = True
        try:
            return super().set_trial_state_values(trial_id, state, values)
        finally:
            self._this_thread.changes_state = False

    def _lock_first(self) -> None:
        this_thread = self._this_thread = threading.local()

        @event.listens_for(self.engine, "begin")
        def begin(connection: Connection) -> None:
            # Python's sqlite3 begins a transaction only before the first change, after the reads.
            # It keeps a transaction that is already open.
            if getattr(this_thread, "changes_state", False):
                connection.exec_driver_sql("BEGIN IMMEDIATE")


def _path(url: URL) -> Path | None:
    """Returns the database file; None for an in-memory database or a file: URI."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name)


def _prepare(path: Path) -> None:
    """Creates the folder, and sets the write-ahead log so that readers and writers do not wait.

    The file stores that journal mode, so all later connections use it, in other programs too.
    """
    _require_access(path)
    # Only SQLite may open the file. Closing any other handle drops this process's locks on it, and
    # another process could then delete the log that this one still writes to.
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        mode = _write_ahead(connection)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise UserError(
            f"The storage must be an SQLite database; {path} is something else, or its header is "
            f"damaged. Fix: restore it from a backup, or choose another file with "
            f"--storage sqlite:///PATH"
        ) from error
    finally:
        if connection is not None:
            connection.close()
    if mode != "wal":
        _log.warning(
            "%s stays in journal mode %r: its file system supports no write-ahead log, so "
            "processes wait for each other. Fix: move it to a local disk, or use a server with "
            "--storage URL.",
            path,
            mode,
        )


def _write_ahead(connection: sqlite3.Connection) -> str:
    """Sets the journal mode to WAL and returns the mode that the file then has.

    Retries here: while another process writes to a file without the log, SQLite fails at once and
    ignores the busy timeout.
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
                raise PermissionError(errno.EACCES, f"{place} is read-only or denies access")
    except OSError as error:
        raise UserError(
            f"The storage's file and its folder must be readable and writable; {path}: "
            f"{error.strerror}. Fix: change their permissions, or choose another place with "
            f"--storage sqlite:///PATH"
        ) from error
