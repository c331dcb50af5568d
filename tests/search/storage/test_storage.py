"""The storage of studies: SQLite settings, and an error for each unusable database."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from cnn_blocks.errors import UserError
from search.storage import open_storage, quiet_optuna, sqlite


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
        ("nothing://host/name", "sqlite:///, postgresql"),
        ("mysql+pymysql://user:secret@host/name", "driver that is not installed"),
        ("postgresql+psycopg://user:secret@host:port/name", "port must be a number"),
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
    _make(path)
    # The header is intact; the pages that it describes are not.
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8192)

    with pytest.raises(UserError, match=r"malformed\. Fix: restore it from a backup"):
        open_storage(f"sqlite:///{path}")


def test_a_database_that_another_program_holds_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    with _held(path) as release:
        threading.Timer(0.3, release).start()
        assert open_storage(f"sqlite:///{path}").get_all_studies() == []


def test_a_database_that_another_program_keeps_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.2)
    path = tmp_path / "studies.db"
    with (
        _held(path),
        pytest.raises(UserError, match=r"locked.*wait for or end the program") as raised,
    ):
        open_storage(f"sqlite:///{path}")
    assert "backup" not in str(raised.value)


def test_a_file_system_without_a_write_ahead_log_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect = sqlite3.connect

    def without_shared_memory(path: object, **options: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(f"file:{path}?vfs=unix-dotfile", uri=True, **options)
        return made

    library = SimpleNamespace(**{**vars(sqlite3), "connect": without_shared_memory})
    monkeypatch.setattr(sqlite, "sqlite3", library)

    open_storage(f"sqlite:///{tmp_path / 'studies.db'}")

    (told,) = caplog.messages
    assert "studies.db stays in journal mode 'delete'" in told


def test_a_read_only_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    sqlite3.connect(path).close()

    with pytest.raises(UserError, match="readonly database"):
        open_storage(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_database_of_a_newer_optuna_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    _make(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.execute(
            "UPDATE version_info SET library_version = '99.0.0', schema_version = 99"
        )
        connection.execute("DROP TABLE trial_heartbeats")
        before = list(connection.iterdump())
    connection.close()

    with pytest.raises(UserError, match=r"another version of Optuna.*optuna 99\.0\.0"):
        open_storage(f"sqlite:///{path}")

    connection = sqlite3.connect(path)
    assert list(connection.iterdump()) == before
    connection.close()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"SQLite format 3\x00" + b"\xff" * 8192, "is something else, or its header is damaged"),
        (b"no database at all", "is something else"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_database(
    tmp_path: Path, broken: bytes, words: str
) -> None:
    path = tmp_path / "studies.db"
    path.write_bytes(broken)

    done = subprocess.run(
        [
            *(sys.executable, "-m", "search.run", "--study", "quickstart"),
            *("--storage", f"sqlite:///{path}", "--runs-directory", tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "--storage" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == broken


def test_a_database_that_is_opened_twice_keeps_its_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    with quiet_optuna():
        study = optuna.create_study(storage=open_storage(f"sqlite:///{path}"), study_name="mine")
        open_storage(f"sqlite:///{path}")
        # The last process to close a database deletes the log, so another process must see that
        # it is not the last.
        read = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute(sys.argv[2])"
        count = [sys.executable, "-c", f"{read}.fetchone()[0]); c.close()", str(path)]
        for expected in ("0\n", "1\n"):
            done = subprocess.run(
                [*count, "SELECT count(*) FROM trials"], capture_output=True, text=True, check=True
            )
            assert done.stdout == expected
            study.ask()


def test_workers_that_start_together_make_one_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_storage, [url] * 8))

    assert all(storage.get_all_studies() == [] for storage in opened)


def test_optunas_verbosity_is_restored() -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)

    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING

    assert optuna.logging.get_verbosity() == optuna.logging.INFO


@contextmanager
def _held(path: Path) -> Iterator[Callable[[], None]]:
    """Locks a file without a write-ahead log during the block, or until it is released."""
    holder = sqlite3.connect(path, check_same_thread=False)
    holder.execute("CREATE TABLE notes (text)")
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield holder.rollback
    finally:
        holder.close()


def _make(path: Path) -> None:
    storage = open_storage(f"sqlite:///{path}")
    assert isinstance(storage, RDBStorage)
    storage.engine.dispose()
