"""A backup is a complete, consistent snapshot, even while other processes write."""

import multiprocessing
import sqlite3
from multiprocessing.synchronize import Event
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from search.cli import app as cli
from search.storage import open_storage, quiet_optuna
from tests.support.postgresql import Cluster
from tests.support.storage_samples import content, make_studies

_WRITERS = 3


def _write(url: str, ready: Event, over: Event) -> None:
    with quiet_optuna():
        study = optuna.load_study(
            study_name="live", storage=open_storage(url), sampler=RandomSampler()
        )
        while not over.is_set():
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.set_user_attr("large", "x" * 20_000)
            study.tell(trial, 1.0)
            ready.set()


def test_backups_are_made_while_others_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with quiet_optuna():
        optuna.create_study(storage=open_storage(url), study_name="live")
    context = multiprocessing.get_context("spawn")
    over, ready = context.Event(), [context.Event() for _ in range(_WRITERS)]
    writers = [context.Process(target=_write, args=(url, event, over)) for event in ready]
    for writer in writers:
        writer.start()
    try:
        assert all(event.wait(60) for event in ready)
        backups = [tmp_path / f"backup {number}.db" for number in range(5)]
        codes = [
            cli.invoke(["storage", "backup", "--storage", url, "--to", str(backup)])
            for backup in backups
        ]
    finally:
        over.set()
        for writer in writers:
            writer.join(60)

    assert [writer.exitcode for writer in writers] == [0] * _WRITERS
    assert codes == [0] * len(backups)
    counts = []
    for backup in backups:
        assert cli.invoke(["storage", "check", "--storage", f"sqlite:///{backup}"]) == 0
        with quiet_optuna():
            study = optuna.load_study(
                study_name="live", storage=open_storage(f"sqlite:///{backup}")
            )
        for trial in study.trials:
            if trial.state is TrialState.COMPLETE:
                assert (len(trial.user_attrs["large"]), trial.value) == (20_000, 1.0)
        counts.append(len(study.trials))
    assert counts == sorted(counts)
    assert 0 < counts[0] < counts[-1]


def test_a_backup_is_the_same_storage_in_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, backup = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "new" / "b.db"
    make_studies(source)

    assert cli.invoke(["storage", "backup", "--storage", source, "--to", str(backup)]) == 0

    assert capsys.readouterr().out.startswith(f"{backup}\nnext: ")
    assert [path.name for path in backup.parent.iterdir()] == ["b.db"]
    connection = sqlite3.connect(f"file:{backup}?immutable=1", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    for name in ("first", "second"):
        assert content(f"sqlite:///{backup}", name) == content(source, name)


def test_a_file_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, backup = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "b.db"
    make_studies(source)
    backup.write_text("last week's")

    assert cli.invoke(["storage", "backup", "--storage", source, "--to", str(backup)]) == 2

    assert "never overwrites" in capsys.readouterr().err
    assert backup.read_text() == "last week's"


def test_a_damaged_storage_gives_no_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, backup = tmp_path / "a.db", tmp_path / "new" / "b.db"
    make_studies(f"sqlite:///{source}")
    with source.open("r+b") as file:
        file.seek(source.stat().st_size // 2)
        file.write(b"\xff" * 40_000)

    command = ["storage", "backup", "--storage", f"sqlite:///{source}", "--to", str(backup)]
    assert cli.invoke(command) == 1

    error = capsys.readouterr().err
    assert f"{source} is damaged, and no backup was written" in error
    assert ".recover" in error
    assert list(backup.parent.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, backup = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "a.db" / "b.db"
    make_studies(source)

    assert cli.invoke(["storage", "backup", "--storage", source, "--to", str(backup)]) == 2

    assert "Fix: choose another file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///no.db", "does not exist"),
        ("grpc://localhost:13000", "needs the database itself"),
        ("sqlite:///notes.txt", "file is not a database"),
    ],
)
def test_other_storages_are_refused(
    url: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("These are notes, and no database.")

    assert cli.invoke(["storage", "backup", "--storage", url, "--to", "b.db"]) == 2

    assert words in capsys.readouterr().err
    assert not Path("b.db").exists()


def test_postgresql_has_its_own_tool(
    postgresql_cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, backup = postgresql_cluster.new_database(), tmp_path / "b.db"

    assert cli.invoke(["storage", "backup", "--storage", url, "--to", str(backup)]) == 2

    error = capsys.readouterr().err
    assert "pg_dump" in error
    assert "storage copy" in error
    assert postgresql_cluster.password not in error
