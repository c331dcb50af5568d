"""Opens the storage of studies, and explains why if it cannot be opened."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import optuna
from optuna.storages import BaseStorage
from sqlalchemy import URL, make_url
from sqlalchemy import exc as sqlalchemy_errors

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.storage.connections import one_line, passes
from search.storage.retrying import PATIENCE_SECONDS
from search.storage.servers import open_proxy, open_server
from search.storage.sqlite import open_sqlite

_PAUSE_SECONDS = 1.0
_DRIVERS = "Fix: for PostgreSQL, pip install 'psycopg[binary]'; for grpc://, pip install grpcio"
_SQLITE_FIXES = {
    "readonly": "make the file and its folder writable for this user",
    "unable to open": "make the file and its folder writable for this user",
    "full": "free space on its disk",
    "locked": "wait for or end the program that locks it, then run the command again",
    "disk I/O error": "check its disk; if it is on a network file system, move it to a local disk",
}
_SERVER_FIXES = {
    "refused": "start the server, or correct host and port",
    "resolve": "correct the host name",
    "timeout": "start the server, or correct host and port",
    "password": "correct user and password",
    "does not exist": "correct the name, or create it first (createdb NAME, createuser NAME)",
}


def default_storage(runs_directory: str | Path = "runs") -> str:
    """Returns the URL of the storage that is used if none is given."""
    return sqlite_url(user_path(runs_directory) / "studies.db")


def sqlite_url(path: Path) -> str:
    """Returns the URL of a database file; its path may contain any characters."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def open_storage(url: str, *, patience_seconds: float = 0) -> BaseStorage:
    """Opens the storage of the studies: a database, or a server in front of one.

    A missing SQLite file is created. SQLite uses a write-ahead log and a busy timeout, so that
    several writers and the dashboard can work at the same time. Storages with a server (PostgreSQL,
    MySQL, and grpc://HOST:PORT for Optuna's storage proxy) survive a restart of the server. Raises
    UserError for a URL, file, server or database that cannot be used, and for a server that does
    not answer within `patience_seconds`. A storage of another Optuna version is not changed.
    """
    parsed = parse_url(url)
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with explained(parsed):
                return _open(parsed, url)
        except UserError as error:
            left = deadline - time.monotonic()
            if left <= 0 or not _may_pass(error.__cause__):
                raise
        time.sleep(min(left, _PAUSE_SECONDS))


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Hides Optuna's own log lines inside the block, except warnings and errors."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def without_password(url: str) -> str:
    """Returns a storage URL with its password hidden."""
    return parse_url(url).render_as_string(hide_password=True)


def _open(parsed: URL, url: str) -> BaseStorage:
    # A process may unpickle a storage while its server restarts.
    reopen = partial(open_storage, url, patience_seconds=PATIENCE_SECONDS)
    match parsed.get_backend_name():
        case "grpc":
            return open_proxy(parsed, reopen=reopen)
        case "sqlite":
            return open_sqlite(parsed)
        case _:
            return open_server(parsed, reopen=reopen)


def _may_pass(cause: BaseException | None) -> bool:
    return isinstance(cause, ConnectionError) or (isinstance(cause, Exception) and passes(cause))


def parse_url(url: str) -> URL:
    """Parses a storage URL; the path of an SQLite file may begin with `~`.

    Raises UserError for an invalid URL.
    """
    try:
        parsed = make_url(url)
    except sqlalchemy_errors.ArgumentError as error:
        raise UserError(
            f"A storage must be a database URL; received {url!r}. Fix: for an SQLite file, write "
            f"sqlite:///{url or 'runs/studies.db'}"
        ) from error
    except ValueError as error:
        raise UserError(
            f"A storage URL's port must be a number; received {url.rpartition('@')[2]!r}. "
            f"Fix: write SCHEME://HOST:PORT"
        ) from error
    path = parsed.database
    if parsed.get_backend_name() == "sqlite" and path is not None and path.startswith("~"):
        return parsed.set(database=str(user_path(path)))
    return parsed


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turns the database libraries' exceptions into errors that name the fix."""
    shown = url.render_as_string(hide_password=True)
    try:
        yield
    except sqlalchemy_errors.NoSuchModuleError as error:
        raise UserError(
            f"A storage must be a sqlite:///, postgresql+psycopg:// or grpc:// URL (or another "
            f"database that SQLAlchemy knows); received {shown!r}: {error}"
        ) from error
    except ImportError as error:
        raise UserError(
            f"The storage {shown!r} needs a driver that is not installed ({error}). {_DRIVERS}"
        ) from error
    except RuntimeError as error:
        if "table schema" not in str(error):
            raise
        raise UserError(
            f"The storage {shown!r} must have the tables of Optuna {optuna.__version__}; it was "
            f"written by another version of Optuna and was not changed: {error}"
        ) from error
    except (
        sqlalchemy_errors.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        sqlite3.Error,
    ) as error:
        detail = one_line(error.__cause__ or error)
        raise UserError(
            f"The storage {shown!r} must be a readable and writable database; received: {detail}. "
            f"Fix: {_fix(url, detail)}, or choose another storage with --storage URL."
        ) from error


def _fix(url: URL, detail: str) -> str:
    sqlite = url.get_backend_name() == "sqlite"
    for words, fix in (_SQLITE_FIXES if sqlite else _SERVER_FIXES).items():
        if words in detail:
            return fix
    return "restore it from a backup" if sqlite else "repair it"
