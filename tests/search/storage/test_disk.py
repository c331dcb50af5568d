"""A full or read-only disk is reported and damages nothing."""

import multiprocessing
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cnn_blocks.errors import UserError
from search.storage import open_storage, quiet_optuna
from search.trials.outcomes import outcome_of

DISK_BYTES = 6 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few MiB; skips the test if none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no separate disk can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Fills a disk and returns the file that fills it."""
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_full_disk_stops_a_study_that_goes_on_later(small_disk: Path) -> None:
    path = small_disk / "studies.db"
    with quiet_optuna():
        study = optuna.create_study(storage=open_storage(f"sqlite:///{path}"), study_name="full")
        told = _tell(study)
        ballast = fill(small_disk)
        with pytest.raises(StorageInternalError) as raised:
            while True:
                told += _tell(study)
        assert "database or disk is full" in str(raised.value.__cause__)
        assert _integrity(path) == "ok"

        ballast.unlink()
        goes_on = optuna.load_study(study_name="full", storage=open_storage(f"sqlite:///{path}"))
        kept = goes_on.get_trials(states=(TrialState.COMPLETE,))
        assert [trial.value for trial in kept] == told
        assert all(trial.user_attrs == {"candidate": "c" * 4096} for trial in kept)
        _tell(goes_on)
    assert _integrity(path) == "ok"


@pytest.mark.slow
def test_a_search_stopped_by_a_full_disk_goes_on_with_the_same_command(
    small_disk: Path, tmp_path: Path
) -> None:
    path = small_disk / "studies.db"
    command = [
        *(sys.executable, "-m", "search.run", "--study", "quickstart", "--trials", "4"),
        *("--storage", f"sqlite:///{path}", "--runs-directory", str(tmp_path / "runs")),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as stopped:
        while not _finished_trials(path):
            assert stopped.poll() is None
            time.sleep(0.2)
        ballast = fill(small_disk)
        _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 1
    assert b"database or disk is full" in said
    assert b"run the same command to resume" in said
    assert b"Traceback" not in said
    assert _integrity(path) == "ok"

    ballast.unlink()
    subprocess.run(command, check=True, capture_output=True)

    with quiet_optuna():
        study = optuna.load_study(
            study_name="quickstart", storage=open_storage(f"sqlite:///{path}")
        )
        trials = study.trials
    assert all(trial.state.is_finished() for trial in trials)
    assert sum(outcome_of(trial).counts for trial in trials) == 4
    assert _integrity(path) == "ok"


def test_a_full_disk_is_no_place_for_a_new_database(small_disk: Path) -> None:
    fill(small_disk)

    with pytest.raises(UserError, match=r"disk is full.*Fix: free space on its disk"):
        open_storage(f"sqlite:///{small_disk / 'studies.db'}")


def test_a_read_only_disk_is_reported(small_disk: Path) -> None:
    path = small_disk / "studies.db"
    _make(path)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    for wanted in (path, small_disk / "new" / "studies.db"):
        with pytest.raises(UserError, match=r"must be readable.*[Rr]ead-only.*--storage"):
            open_storage(f"sqlite:///{wanted}")


@pytest.mark.parametrize("closed", ["folder", "file"])
def test_a_database_of_another_user_is_reported(closed: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    # Other users cannot enter pytest's folder.
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "studies.db"
        _make(path)
        folder.chmod(0o755 if closed == "folder" else 0o777)
        path.chmod(0o666 if closed == "folder" else 0o644)
        before = path.read_bytes()
        context = multiprocessing.get_context("fork")
        said: Queue[str] = context.Queue()
        other = context.Process(target=_open_as_nobody, args=(path, said))
        other.start()
        message = said.get(timeout=60)
        other.join()

        assert "must be readable and writable" in message
        assert f"{path if closed == 'file' else folder} is read-only" in message
        assert path.read_bytes() == before
    finally:
        shutil.rmtree(folder)


def _open_as_nobody(path: Path, said: "Queue[str]") -> None:
    os.setgroups([])
    os.setuid(pwd.getpwnam("nobody").pw_uid)
    try:
        open_storage(f"sqlite:///{path}")
        said.put("opened")
    except UserError as error:
        said.put(str(error))
    except Exception as error:
        said.put(repr(error))


def _make(path: Path) -> None:
    storage = open_storage(f"sqlite:///{path}")
    assert isinstance(storage, RDBStorage)
    storage.engine.dispose()


def _tell(study: optuna.Study) -> list[float]:
    trial = study.ask()
    value = trial.suggest_float("x", 0, 1)
    trial.set_user_attr("candidate", "c" * 4096)
    study.tell(trial, value)
    return [value]


def _finished_trials(path: Path) -> int:
    """Counts finished trials without creating the file before the search does."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
    except sqlite3.OperationalError:
        return 0
    try:
        query = "SELECT count(*) FROM trials WHERE state NOT IN ('RUNNING', 'WAITING')"
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def _integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()
