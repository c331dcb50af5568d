"""Where studies are kept, and the names of everything that we store on them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import URL, make_url
from sqlalchemy import exc as sqlalchemy_errors

from cnn_blocks.errors import UserError

DEFAULT_STORAGE = "sqlite:///runs/studies.db"
_SQLITE_HEADER = b"SQLite format 3\x00"
_BUSY_SECONDS = 60.0
_POSTGRESQL_DRIVER = "pip install 'psycopg[binary]'"


class TrialAttribute(StrEnum):
    """User attributes of a trial, as the dashboard shows them."""

    CANDIDATE = "candidate"
    RECIPE = "recipe"
    SUMMARY = "summary"
    OUTCOME = "outcome"
    REASON = "reason"
    TRACEBACK = "traceback"
    PARAMETERS = "parameters"
    SECONDS = "seconds"
    IMAGES_PER_SECOND = "images_per_second"
    EPOCHS_TRAINED = "epochs_trained"
    BEST_EPOCH = "best_epoch"
    STEP_UNIT = "step_unit"
    CONSTRAINTS = "constraints"
    MEMORY_MIB = "estimated_memory_mib"
    HOST = "host"
    PROCESS = "process"
    PROCESS_STARTED = "process_started"
    CHECKPOINTS = "checkpoints"
    CONTINUES = "continues_trial"
    CRASHES = "crashes"


class StudyAttribute(StrEnum):
    """User attributes of a study, as the dashboard shows them."""

    STUDY = "study"
    DESCRIPTION = "description"
    SOURCE = "source"
    DATA = "data"
    INDICES = "split_indices"
    SEARCH_SECONDS = "search_seconds"
    TEST_OPENINGS = "test_openings"
    CLASS_NAMES = "class_names"
    RETRAIN_EPOCHS = "retrain_epochs"


def open_storage(url: str) -> RDBStorage:
    """Opens the database that holds the studies; an SQLite file is made where there is none.

    SQLite runs with a write-ahead log and a busy timeout, so that several writers and the
    dashboard get along. Raises UserError for a URL, a file or a database that cannot be used.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        with _explained(url):
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    path = _sqlite_path(parsed)
    if path is not None:
        _prepare_file(path)
    with _explained(url):
        if path is not None:
            # The file remembers its journal mode, so that every later connection has it too.
            connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            finally:
                connection.close()
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}})


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps Optuna's own log lines off the screen while the block runs; warnings stay."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except sqlalchemy_errors.ArgumentError as error:
        raise UserError(
            f"A storage must be a database URL; received {url!r}. For an SQLite file write "
            f"sqlite:///{url or 'runs/studies.db'}"
        ) from error


def _sqlite_path(url: URL) -> Path | None:
    """Returns the database file; None where it lives in memory or is given as a file: URI."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name)


def _prepare_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = b""
        if path.exists():
            with path.open("rb") as file:
                header = file.read(len(_SQLITE_HEADER))
    except OSError as error:
        raise UserError(
            f"The storage's file must be readable and its folder writable; {path}: "
            f"{error.strerror}. Choose another place with --storage sqlite:///PATH"
        ) from error
    if header and header != _SQLITE_HEADER:
        raise UserError(
            f"The storage must be an SQLite database; {path} is something else. Choose another "
            f"file with --storage sqlite:///PATH, or move this one away."
        )


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turns what the database libraries raise into errors that name the way out."""
    shown = make_url(url).render_as_string(hide_password=True)
    try:
        yield
    except sqlalchemy_errors.NoSuchModuleError as error:
        raise UserError(
            f"A storage must be a sqlite:/// or postgresql+psycopg:// URL (or another database "
            f"that SQLAlchemy knows); received {shown!r}: {error}"
        ) from error
    except ImportError as error:
        raise UserError(
            f"The storage {shown!r} needs a database driver that is not installed ({error}). "
            f"For PostgreSQL: {_POSTGRESQL_DRIVER}"
        ) from error
    except RuntimeError as error:
        if "table schema" not in str(error):
            raise
        raise UserError(
            f"The storage {shown!r} was written by another version of Optuna: {error}"
        ) from error
    except (
        sqlalchemy_errors.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        sqlite3.Error,
    ) as error:
        detail = str(error.__cause__ or error).splitlines()[0]
        raise UserError(
            f"The storage {shown!r} must be a database that can be read and written; "
            f"received: {detail}. Mend it, or choose another one with --storage URL."
        ) from error
