"""Copied studies equal their originals and are copied completely or not at all."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note  # type: ignore[import-untyped]

from cnn_blocks.errors import UserError
from search.cli import app as cli
from search.optimize.fingerprint import remember_or_refuse
from search.storage import TrialAttribute, open_storage, quiet_optuna
from search.storage.dashboard import save_for_dashboard
from tests.support.postgresql import Cluster
from tests.support.storage_samples import (
    IDENTITY,
    content,
    end_running,
    ended_process,
    lease,
    load,
    make_studies,
    study_names,
    this_process,
)

MakeUrl = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_source(request: pytest.FixtureRequest, tmp_path: Path) -> MakeUrl:
    return _maker(request, tmp_path / "source.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def new_target(request: pytest.FixtureRequest, tmp_path: Path) -> MakeUrl:
    return _maker(request, tmp_path / "target.db")


def _maker(request: pytest.FixtureRequest, path: Path) -> MakeUrl:
    if request.param == "sqlite":
        return lambda: f"sqlite:///{path}"
    cluster: Cluster = request.getfixturevalue("postgresql_cluster")
    return cluster.new_database


def test_everything_of_every_study_arrives(
    new_source: MakeUrl, new_target: MakeUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = new_source(), new_target()
    make_studies(source)
    lease(source, ended_process())
    # The target has other ids, and uses these for another study.
    with quiet_optuna():
        other = optuna.create_study(storage=open_storage(target), study_name="other")
    other.tell(other.ask(), 1.0)
    before = content(target, "other")

    assert cli.invoke(["storage", "copy", "--from", source, "--to", target]) == 0

    captured = capsys.readouterr()
    assert captured.out == "first: 10 trials\nsecond: 2 trials\n"
    assert "trial 7: process" in captured.err
    assert "gone; copied as it is" in captured.err
    assert study_names(target) == ["first", "other", "second"]
    for name in ("first", "second"):
        assert content(target, name) == content(source, name)
    assert content(target, "other") == before
    states = [trial.state for trial in load(target, "first").trials]
    assert states.count(TrialState.WAITING) == states.count(TrialState.RUNNING) == 1


def test_a_copied_study_goes_on(new_source: MakeUrl, new_target: MakeUrl) -> None:
    source, target = new_source(), new_target()
    make_studies(source)
    end_running(source)
    cli.invoke(["storage", "copy", "--from", source, "--to", target, "--study", "first"])

    study = load(target, "first")
    remember_or_refuse(study, IDENTITY)
    with pytest.raises(UserError, match="the data"):
        remember_or_refuse(study, replace(IDENTITY, data_fingerprint="other"))
    # First the waiting trial, then new ones.
    asked = [study.ask() for _ in range(3)]

    assert study_names(target) == ["first"]
    assert [trial.number for trial in asked] == [8, 10, 11]
    assert asked[0].suggest_float("rate", 1e-5, 1e-1, log=True) == 0.01
    study.tell(asked[1], 100.0)
    assert study.best_trial.number == 10
    assert content(source, "first")["trials"][8]["state"] is TrialState.WAITING


def test_notes_and_artifacts_of_trials_follow_their_trials(
    tmp_path: Path,
) -> None:
    source, target = f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}"
    make_studies(source)
    end_running(source)
    study = load(source, "first")
    saved = {None: "of the study", 0: "of trial 0", 3: "of trial 3 " * 2000}
    save_for_dashboard(study, notes=saved)
    # As a person edits one.
    save_note(_trial(study, 1), "by hand")
    artifact = '{"artifact_id": "5", "filename": "a.png", "mimetype": "x/y", "encoding": null}'
    study._storage.set_study_system_attr(
        study._study_id, f"dashboard:artifacts:{study.trials[2]._trial_id}:5", artifact
    )
    # The target's ids differ, and belong to another study.
    with quiet_optuna():
        other = optuna.create_study(storage=open_storage(target), study_name="other")
    for _ in range(5):
        other.tell(other.ask(), 1.0)

    assert cli.invoke(["storage", "copy", "--from", source, "--to", target]) == 0

    copied = load(target, "first")
    assert [trial._trial_id for trial in copied.trials] != [t._trial_id for t in study.trials]
    notes = [get_note(_trial(copied, number)) for number in range(5)]
    assert notes == ["of trial 0", "by hand", "", "of trial 3 " * 2000, ""]
    assert get_note(copied) == "of the study"
    attributes = copied._storage.get_study_system_attrs(copied._study_id)
    assert attributes[f"dashboard:artifacts:{copied.trials[2]._trial_id}:5"] == artifact


def _trial(study: optuna.Study, number: int) -> optuna.Trial:
    return optuna.Trial(study, study.trials[number]._trial_id)


def test_a_name_that_the_target_has_changes_nothing(
    new_target: MakeUrl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = f"sqlite:///{tmp_path / 'a.db'}", new_target()
    make_studies(source)
    end_running(source)
    with quiet_optuna():
        optuna.create_study(storage=open_storage(target), study_name="second")

    assert cli.invoke(["storage", "copy", "--from", source, "--to", target]) == 2

    assert "already has 'second'" in capsys.readouterr().err
    assert study_names(target) == ["second"]
    assert load(target, "second").trials == []


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        (this_process, "at work"),
        (lambda patch: {"host": "elsewhere", "process": 7, "started": "1"}, "on another machine"),
        (None, "it has no lease"),
    ],
    ids=["here", "elsewhere", "nobody known"],
)
def test_a_trial_that_may_be_worked_on_is_copied_on_request_only(
    holder: Callable[[pytest.MonkeyPatch], dict[str, object]] | None,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}"
    make_studies(source)
    if holder is not None:
        lease(source, holder(monkeypatch))
    command = ["storage", "copy", "--from", source, "--to", target]

    assert cli.invoke(command) == 2
    refusal = capsys.readouterr().err
    assert not (tmp_path / "b.db").exists()
    assert cli.invoke([*command, "--with-running"]) == 0

    assert words in refusal
    assert "trial 7" in refusal
    assert "--with-running" in refusal
    assert words in capsys.readouterr().err
    assert content(target, "first") == content(source, "first")


def test_a_lease_of_an_earlier_version_counts_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}"
    make_studies(source)
    study = load(source, "first")
    holder = {"worker": "w", "beat": 1, "host": "elsewhere", "process": 7, "started": "1"}
    study._storage.set_trial_user_attr(study.trials[7]._trial_id, TrialAttribute.LEASE, holder)

    assert cli.invoke(["storage", "copy", "--from", source, "--to", target]) == 2

    assert "process 7 on elsewhere, on another machine" in capsys.readouterr().err


def test_a_row_that_the_target_refuses_undoes_the_copy(
    postgresql_cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = f"sqlite:///{tmp_path / 'a.db'}", postgresql_cluster.new_database()
    make_studies(source)
    end_running(source)
    study = load(source, "second")
    # SQLite accepts larger integers than PostgreSQL; the last study has one.
    study._storage.set_trial_intermediate_value(study.ask()._trial_id, 2**40, 1.0)
    end_running(source, "second")

    assert cli.invoke(["storage", "copy", "--from", source, "--to", target]) == 2

    error = capsys.readouterr().err
    assert "out of range" in error
    assert "Nothing was copied" in error
    assert postgresql_cluster.password not in error
    assert study_names(target) == []


_KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from search.cli import app as cli

@event.listens_for(Engine, "after_cursor_execute")
def kill(connection, cursor, statement, *others):
    if statement.startswith("INSERT INTO trial_user_attributes"):
        os.kill(os.getpid(), signal.SIGKILL)

cli.invoke(["storage", "copy", "--from", sys.argv[1], "--to", sys.argv[2]])
"""


def test_a_killed_copy_leaves_nothing_and_can_be_repeated(
    new_target: MakeUrl, tmp_path: Path
) -> None:
    source, target = f"sqlite:///{tmp_path / 'a.db'}", new_target()
    make_studies(source)
    end_running(source)

    killed = subprocess.run([sys.executable, "-c", _KILLED, source, target], timeout=60)
    left = study_names(target)

    assert killed.returncode == -signal.SIGKILL
    assert left == []
    assert cli.invoke(["storage", "copy", "--from", source, "--to", target]) == 0
    assert content(target, "first") == content(source, "first")


def test_times_in_the_hour_that_comes_twice_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    make_studies(f"sqlite:///{source}")
    end_running(f"sqlite:///{source}")
    with sqlite3.connect(source) as connection:
        # In Berlin, both times are 02:30 on that morning.
        for number, utc in ((0, "2026-10-25 00:30:00.000001"), (1, "2026-10-25 01:30:00.000001")):
            connection.execute("UPDATE trials SET datetime_start=? WHERE number=?", (utc, number))
    connection.close()

    script = "import sys; from search.cli import app as cli; sys.exit(cli.invoke(sys.argv[1:]))"
    command = ["storage", "copy", "--from", f"sqlite:///{source}", "--to", f"sqlite:///{target}"]
    monkeypatch.setenv("TZ", "Europe/Berlin")
    subprocess.run([sys.executable, "-c", script, *command], check=True, timeout=60)

    assert _times(target) == _times(source)


def _times(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT study_id, number, datetime_start, datetime_complete FROM trials ORDER BY trial_id"
    ).fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--from", "sqlite:///no.db", "--to", "sqlite:///b.db"], "no.db does not exist"),
        (["--from", "grpc://localhost:1", "--to", "sqlite:///b.db"], "needs the database itself"),
        (["--from", "sqlite:///a.db", "--to", "grpc://localhost:1"], "needs the database itself"),
        (["--from", "sqlite:///a.db", "--to", "b.db"], "sqlite:///b.db"),
        (["--from", "sqlite:///a.db", "--to", "sqlite:///b.db", "--study", "frist"], "'first'"),
        (["--from", "sqlite:///a.db", "--to", "sqlite:///a.db"], "already"),
        (["--from", "sqlite:///empty.db", "--to", "sqlite:///b.db"], "A copy needs a study"),
        (["--from", "sqlite:///a.db"], "'--to'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_uses_end_with_one_line(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_studies("sqlite:///a.db")
    end_running("sqlite:///a.db")
    open_storage("sqlite:///empty.db")

    assert cli.invoke(["storage", "copy", *options]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "b.db").exists()
    assert not (tmp_path / "no.db").exists()


@pytest.mark.slow
def test_a_search_goes_on_at_the_target(
    postgresql_cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    source, target = "sqlite:///runs/studies.db", postgresql_cluster.new_database()
    run = ["run", "--study", "quickstart", "--retrain-epochs", "1"]

    assert cli.invoke([*run, "--trials", "1", "--storage", source]) == 0
    assert cli.invoke(["storage", "copy", "--from", source, "--to", target]) == 0
    assert cli.invoke([*run, "--trials", "2", "--storage", target]) == 0
    assert cli.invoke([*run, "--trials", "2", "--storage", target, "--seed", "1"]) == 2

    assert "the seed" in capsys.readouterr().err
    before, after = content(source, "quickstart"), content(target, "quickstart")
    assert (len(before["trials"]), len(after["trials"])) == (1, 2)
    assert after["trials"][0] == before["trials"][0]
