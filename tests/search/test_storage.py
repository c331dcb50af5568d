"""Where studies are kept: SQLite settings, and an error for each database that cannot be used."""

import sqlite3
import threading
from pathlib import Path

import optuna
import pytest

from cnn_blocks.errors import UserError
from search.storage import open_storage, quiet_optuna


def test_makes_the_folder_and_a_database_with_a_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "new" / "studies.db"

    open_storage(f"sqlite:///{path}")

    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_several_writers_never_find_the_database_locked(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    failures = []
    with quiet_optuna():
        optuna.create_study(storage=open_storage(url), study_name="shared")

        def write() -> None:
            try:
                study = optuna.load_study(study_name="shared", storage=open_storage(url))
                for _ in range(15):
                    trial = study.ask()
                    trial.report(trial.suggest_float("x", 0, 1), 0)
                    study.tell(trial, 0.0)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        study = optuna.load_study(study_name="shared", storage=open_storage(url))

    assert failures == []
    assert [trial.number for trial in study.trials] == list(range(60))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("studies.db", "sqlite:///studies.db"),
        ("nothing://host/name", "sqlite:/// or postgresql"),
        ("mysql+pymysql://user:secret@host/name", "driver that is not installed"),
        ("sqlite:////proc/no/studies.db", "--storage"),
    ],
)
def test_an_url_that_cannot_be_used_is_a_users_error(url: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        open_storage(url)

    assert "secret" not in str(raised.value)


def test_another_file_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, not a database.")

    with pytest.raises(UserError, match="is something else"):
        open_storage(f"sqlite:///{path}")

    assert path.read_text() == "These are my notes, not a database."


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="directory"):
        open_storage(f"sqlite:///{tmp_path}")


def test_a_corrupted_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    open_storage(f"sqlite:///{path}").engine.dispose()
    path.write_bytes(path.read_bytes()[:16] + b"\xff" * 8192)

    with pytest.raises(UserError, match="can be read and written"):
        open_storage(f"sqlite:///{path}")


def test_a_read_only_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    sqlite3.connect(path).close()

    with pytest.raises(UserError, match="readonly database"):
        open_storage(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_database_of_a_newer_optuna_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    open_storage(f"sqlite:///{path}").engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    connection.close()

    with pytest.raises(UserError, match="another version of Optuna"):
        open_storage(f"sqlite:///{path}")


def test_optunas_verbosity_is_restored() -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)

    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING

    assert optuna.logging.get_verbosity() == optuna.logging.INFO
