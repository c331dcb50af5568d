"""The database that earlier versions used by default for every runs directory."""

import sqlite3
from pathlib import Path

import optuna

from cnn_blocks.errors import UserError
from search.maintenance.reading import open_for_reading
from search.storage.opening import default_storage, parse_url, quiet_optuna


def has_study_in_earlier_default(name: str, *, used: str) -> bool:
    """Returns whether runs/studies.db has a study of this name and is not the storage in use."""
    former, current = (parse_url(url).database for url in (default_storage(), used))
    assert former is not None and current is not None
    if Path(former).resolve() == Path(current).resolve() or not Path(former).is_file():
        return False
    try:
        with quiet_optuna(), open_for_reading(default_storage()) as storage:
            return name in optuna.get_all_study_names(storage)
    except (UserError, sqlite3.Error):
        return False
