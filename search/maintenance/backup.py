"""Backs up an SQLite storage while other processes write to it."""

import os
import sqlite3
from pathlib import Path

from cnn_blocks.errors import UserError
from search.maintenance.damage import Damage, DamagedStorageError
from search.maintenance.reading import (
    database_url,
    open_for_reading,
    reading_connection,
    sqlite_damage,
    sqlite_file,
)
from search.storage.opening import explained, sqlite_url
from search.system.files import whole_file
from search.system.printed_command import printed_command


def back_up(url: str, to: Path) -> None:
    """Writes a consistent snapshot of an SQLite storage to a new file, atomically.

    Writers can continue meanwhile. The copy is a single file that has passed SQLite's integrity
    check. Raises UserError for another kind of database and for an existing file, and
    DamagedStorageError if the copy is damaged because its source is.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise UserError(
            f"A backup needs an SQLite storage; received "
            f"{parsed.render_as_string(hide_password=True)!r}. Fix: use the server's own tool "
            f"(pg_dump), or copy the studies: "
            + printed_command(
                *("python", "-m", "search.storage", "copy"),
                *("--from", "URL", "--to", sqlite_url(to)),
            )
        )
    _refuse_existing(to)
    path = sqlite_file(parsed)
    with explained(parsed), open_for_reading(url):
        pass  # This only checks that it is a storage of studies.
    try:
        with whole_file(to) as temporary:
            _copy(path, temporary)
            damage = sqlite_damage(temporary)
            if damage:
                raise DamagedStorageError(
                    Damage(
                        f"{path} is damaged, and no backup was written: {damage[0].what}",
                        damage[0].fix.replace(str(temporary), str(path)),
                    )
                )
            _refuse_existing(to)
    except sqlite3.OperationalError as error:
        raise UserError(
            f"A backup needs a readable source and a writable target; from {path} to {to}: "
            f"{error}. Fix: free space, or choose another file with --to."
        ) from error
    except sqlite3.DatabaseError as error:
        raise DamagedStorageError(
            Damage(
                f"{path} is damaged, and no backup was written: {error}",
                "run `python -m search.storage check` for details",
            )
        ) from error
    except OSError as error:
        raise UserError(
            f"A backup's folder must be writable; {to}: {error.strerror}. Fix: choose another file "
            f"with --to."
        ) from error


def _copy(source: Path, target: Path) -> None:
    with reading_connection(source) as reader:
        writer = sqlite3.connect(target)
        try:
            # In one step: a copy in several steps restarts after every write by another process.
            reader.backup(writer)
            # Merges the log, so that the backup is one file that is readable on read-only media.
            writer.execute("PRAGMA journal_mode=DELETE")
        finally:
            writer.close()
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise UserError(
            f"A backup never overwrites a file; {path} exists. Fix: choose another file with --to."
        )
