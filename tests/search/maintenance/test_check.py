"""A check reports on sound and damaged storages, and changes nothing."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect

from search.cli import app as cli
from search.storage import open_storage
from tests.support.postgresql import Cluster
from tests.support.storage_samples import ended_process, lease, make_studies, this_process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A storage with every kind of trial."""
    path = tmp_path / "studies.db"
    make_studies(f"sqlite:///{path}")
    return path


def _check(capsys: pytest.CaptureFixture[str], url: str, *options: str) -> tuple[int, Any]:
    code = cli.invoke(["storage", "check", "--storage", url, "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_a_sound_storage_is_described(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = this_process(monkeypatch)
    lease(f"sqlite:///{file}", holder)

    code, report = _check(capsys, f"sqlite:///{file}")

    assert code == 0
    assert (report["sound"], report["damage"]) == (True, [])
    assert report["storage"] == f"sqlite:///{file}"
    assert report["database"] == f"SQLite {sqlite3.sqlite_version}"
    assert report["journal_mode"] == "wal"
    assert report["schema_version"].startswith("v")
    assert report["size_bytes"] == file.stat().st_size
    first, second = report["studies"]
    assert first == {
        "name": "first",
        "directions": ["maximize"],
        "states": {"COMPLETE": 3, "PRUNED": 2, "FAIL": 3, "RUNNING": 1, "WAITING": 1},
        "outcomes": {
            "complete": 3,
            "pruned": 1,
            "infeasible": 1,
            "failed": 1,
            "interrupted": 1,
            "crashed": 1,
        },
        "best_value": pytest.approx(1 / 3),
        "best_trial": 1,
        "running": [
            {"number": 7, "holder": "at work", "host": holder["host"], "process": holder["process"]}
        ],
        "artifacts": 1,
        "missing_artifacts": [],
    } | {"states": first["states"]}
    assert sum(first["states"].values()) == 10
    assert (second["name"], second["best_value"]) == ("second", None)


def test_postgresql_is_described(
    postgresql_cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgresql_cluster.new_database()
    make_studies(url)

    code, report = _check(capsys, url, "--study", "second")

    assert code == 0
    assert report["sound"]
    assert report["database"].startswith("PostgreSQL 1")
    assert report["size_bytes"] > 1_000_000
    assert [study["name"] for study in report["studies"]] == ["second"]
    assert postgresql_cluster.password not in json.dumps(report)


def test_a_person_sees_a_table(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lease(f"sqlite:///{file}", ended_process())

    assert cli.invoke(["storage", "check", "--storage", f"sqlite:///{file}"]) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[2:4] == [
        "study trials of these best of trial",
        "first 10 3 complete, 1 pruned, 1 infeasible, 1 failed, 1 interrupted, 1 crashed, "
        "1 running, 1 waiting 0.333333 1",
    ]
    assert any("first: trial 7: process" in line and "gone" in line for line in lines)
    assert lines[-1] == "sound"


def test_an_artifact_that_was_never_stored_is_named(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "artifacts"
    store.mkdir()
    url = f"sqlite:///{file}"

    _, without = _check(capsys, url, "--artifacts", str(store))
    (store / "1234").write_text("a model")
    code, there = _check(capsys, url, "--artifacts", str(store))

    assert without["studies"][0]["missing_artifacts"] == ["model.keras (1234)"]
    assert there["studies"][0]["missing_artifacts"] == []
    assert code == 0
    assert cli.invoke(["storage", "check", "--storage", url, "--artifacts", "no_such"]) == 2


_KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("UPDATE studies SET study_name = 'renamed' WHERE study_name = 'first'")
connection.commit()
os._exit(0)
"""


@pytest.mark.parametrize("killed", [False, True], ids=["at rest", "with a log that was left"])
def test_nothing_is_changed(killed: bool, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if killed:
        subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(file)], check=True)
    before = _folder(file.parent)

    code, report = _check(capsys, f"sqlite:///{file}")

    assert code == 0
    names = [study["name"] for study in report["studies"]]
    assert names == ["renamed" if killed else "first", "second"]
    assert _folder(file.parent) == before
    assert ("studies.db-wal" in before) == killed


def _folder(folder: Path) -> dict[str, bytes]:
    # A log's index is memory shared by its readers, in which they record what they read.
    return {
        path.name: b"" if path.name.endswith("-shm") else path.read_bytes()
        for path in folder.iterdir()
    }


def test_nothing_is_made_where_nothing_was(
    tmp_path: Path, postgresql_cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = postgresql_cluster.new_database()

    assert cli.invoke(["storage", "check", "--storage", f"sqlite:///{tmp_path / 'no.db'}"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert cli.invoke(["storage", "check", "--storage", empty]) == 2
    assert "has no Optuna tables" in capsys.readouterr().err

    assert list(tmp_path.iterdir()) == []
    engine = create_engine(empty)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def _execute(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return damage


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 40_000)


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _destroy(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:16] + b"\xff" * 8192)


def _write_text(path: Path) -> None:
    path.write_text("These are my notes, and no database.")


@pytest.mark.parametrize(
    ("damage", "what", "fix"),
    [
        (_overwrite, "studies.db", ".recover"),
        (_truncate, "studies.db", ".recover"),
        (_destroy, "cannot be read as a database", ".recover"),
        (_write_text, "cannot be read as a database", ".recover"),
        (
            _execute("UPDATE trial_params SET distribution_json = '{'"),
            "the study 'first' cannot be read: JSONDecodeError",
            "restore a backup",
        ),
        (
            _execute("UPDATE trials SET number = 3 WHERE number = 4"),
            "twice: 3, missing: 4",
            "restore",
        ),
        (_execute("DELETE FROM trial_values"), "without one: 0, 1, 9", "restore a backup"),
        (
            _execute("DELETE FROM trials WHERE number = 9"),
            "rows of trial_values refer",
            ".recover",
        ),
    ],
    ids=[
        "overwritten",
        "truncated",
        "destroyed",
        "text",
        "bad row",
        "same number",
        "no value",
        "orphans",
    ],
)
def test_damage_is_told_with_the_way_out(
    damage: Callable[[Path], None],
    what: str,
    fix: str,
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(file)
    before = file.read_bytes()

    assert cli.invoke(["storage", "check", "--storage", f"sqlite:///{file}"]) == 1
    shown = capsys.readouterr().out
    code, report = _check(capsys, f"sqlite:///{file}")

    assert code == 1
    assert not report["sound"]
    assert any(what in found["what"] for found in report["damage"]), report["damage"]
    assert any(fix in found["fix"] for found in report["damage"])
    assert "damage: " in shown
    assert "Fix: " in shown
    assert "sound" not in shown
    assert file.read_bytes() == before


def test_a_damaged_study_does_not_hide_the_others(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _execute("UPDATE trial_params SET distribution_json = '{' WHERE param_name = 'rate'")(file)

    code, report = _check(capsys, f"sqlite:///{file}")

    assert code == 1
    assert [study["name"] for study in report["studies"]] == ["second"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--storage", "studies.db"], "sqlite:///studies.db"),
        (["--storage", "sqlite:///other.db"], "has no Optuna tables"),
        (["--storage", "sqlite:///newer.db"], "another version of Optuna"),
        (["--storage", "grpc://localhost:13000"], "needs the database itself"),
        (["--storage", "sqlite:///:memory:"], "must be a file"),
        (["--storage", "sqlite:///studies.db", "--study", "frist"], "'first'"),
        (["--storage", "postgresql+psycopg://u:secret@127.0.0.1:1/x"], "Fix: start the server"),
        (["--sorage", "x"], "--storage"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_uses_end_with_one_line(
    arguments: list[str],
    words: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(file.parent)
    open_storage("sqlite:///newer.db")
    _execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")(Path("newer.db"))
    _execute("CREATE TABLE other (x)")(Path("other.db"))

    assert cli.invoke(["storage", "check", *arguments]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert "secret" not in error


@pytest.mark.parametrize("command", ["check", "backup", "copy", "serve"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["storage", command, "--help"]) == 0

    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"cnn-search storage {command}" in text


def test_help_is_shown_where_no_command_is_given_and_does_without_optuna(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "search.storage"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.startswith("Usage: python -m search.storage ")
    assert all(command in done.stdout for command in ("check", "backup", "copy", "serve"))
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "search.cli.storage" in imported
    assert not {"optuna", "sqlalchemy", "numpy", "rich"} & imported
