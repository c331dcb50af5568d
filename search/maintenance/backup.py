"""A copy of an SQLite storage while others write to it."""

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
    """Writes the state of an SQLite storage at one moment into a new file, whole or not at all.

    Writers go on meanwhile. The copy needs no other file beside it, and has passed SQLite's
    integrity check. Raises UserError for another database and for a file that exists,
    DamagedStorageError where the copy is damaged, because its source is.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise UserError(
            f"A backup is made of an SQLite storage; received "
            f"{parsed.render_as_string(hide_password=True)!r}. Use the server's own tool "
            f"(pg_dump), or copy the studies: "
            + printed_command(
                *("python", "-m", "search.storage", "copy"),
                *("--from", "URL", "--to", sqlite_url(to)),
            )
        )
    _refuse_existing(to)
    path = sqlite_file(parsed)
    with explained(parsed), open_for_reading(url):
        pass  # It is a storage of studies.
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
            f"A backup needs a readable source and a writable place; from {path} to {to}: {error}. "
            f"Make room or choose another file after --to."
        ) from error
    except sqlite3.DatabaseError as error:
        raise DamagedStorageError(
            Damage(
                f"{path} is damaged, and no backup was written: {error}",
                "`python -m search.storage check` says more",
            )
        ) from error
    except OSError as error:
        raise UserError(
            f"A backup's folder must be writable; {to}: {error.strerror}. Choose another file "
            f"after --to."
        ) from error


def _copy(source: Path, target: Path) -> None:
    with reading_connection(source) as reader:
        writer = sqlite3.connect(target)
        try:
            # In one step: a copy in several begins anew whenever somebody writes.
            reader.backup(writer)
            # The state lies in one file then, which can be read where nothing can be written.
            writer.execute("PRAGMA journal_mode=DELETE")
        finally:
            writer.close()
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise UserError(
            f"A backup never overwrites a file; {path} exists. Choose another file after --to."
        )
