"""The command that serves the dashboard: its address, its end, and what it refuses."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import pytest

from search.cli import app as cli
from search.maintenance.dashboard import is_loopback
from search.storage import open_storage, quiet_optuna
from search.storage.artifacts import keep_results, open_artifacts
from tests.support.storage_servers import storage_server

_SECONDS = 60


@contextmanager
def dashboard(url: str, *options: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Runs the command for the block; yields the address that it prints."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "search", "dashboard", "--no-browser"),
            *("--storage", url, *map(str, options)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("http://"), process.communicate()
        yield line.split()[0].rstrip("/"), process
    finally:
        process.kill()
        process.communicate(timeout=_SECONDS)


def test_its_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["dashboard", "--help"]) == 0

    text = capsys.readouterr().out
    assert "Examples:" in text
    assert "cnn-search dashboard --runs-directory" in text


def _read(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
        return json.load(answer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_serves_until_a_signal_ends_it(number: int, url: str, study: optuna.Study) -> None:
    with dashboard(url) as (address, process):
        studies = _read(f"{address}/api/studies")["study_summaries"]
        process.send_signal(number)
        out, error = process.communicate(timeout=_SECONDS)

    assert address.startswith("http://127.0.0.1:")
    assert [found["study_name"] for found in studies] == [study.study_name]
    assert process.returncode == 0
    assert out == "the dashboard has stopped\n"
    assert error == ""


def test_it_serves_the_artifacts_and_what_changes_meanwhile(
    url: str, study: optuna.Study, tmp_path: Path
) -> None:
    run = tmp_path / "run_1"
    run.mkdir()
    (run / "metrics.json").write_text('{"accuracy": 0.5}')
    keep_results(study, run, open_artifacts(tmp_path / "shared"))
    with dashboard(url, "--artifacts", tmp_path / "shared") as (address, _):
        detail = _read(f"{address}/api/studies/{study._study_id}")
        identifier = detail["artifacts"][0]["artifact_id"]
        assert _read(f"{address}/artifacts/{study._study_id}/{identifier}") == {"accuracy": 0.5}
        with quiet_optuna():
            optuna.create_study(storage=open_storage(url), study_name="later")
        names = [
            found["study_name"] for found in _read(f"{address}/api/studies")["study_summaries"]
        ]
    assert names == ["tiny", "later"]


def test_the_winners_page_has_its_figures_and_its_study_can_be_deleted(
    url: str, study: optuna.Study, tmp_path: Path
) -> None:
    for _ in range(2):
        study.tell(study.ask(), 0.5)
    run, shared = tmp_path / "run_1", tmp_path / "shared"
    run.mkdir()
    figures = {"learning_curve.png": b"curve", "confusion_matrix.png": b"matrix"}
    for name, figure in {**figures, "metrics.json": b"{}"}.items():
        (run / name).write_bytes(figure)
    for _ in range(2):
        keep_results(study, run, open_artifacts(shared), winner=1)
    (run / "learning_curve.png").write_bytes(b"new curve")
    keep_results(study, run, open_artifacts(shared), winner=1)

    with dashboard(url, "--artifacts", shared) as (address, _):
        path = f"{address}/api/studies/{study._study_id}"
        trials = _read(path)["trials"]
        place = f"{address}/artifacts/{study._study_id}/{trials[1]['trial_id']}"
        bodies = set()
        for found in trials[1]["artifacts"]:
            with urllib.request.urlopen(
                f"{place}/{found['artifact_id']}", timeout=_SECONDS
            ) as file:
                bodies.add(file.read())
        delete = urllib.request.Request(
            path, b"{}", headers={"Content-Type": "application/json"}, method="DELETE"
        )
        # It removes the file of each artifact, and fails at one that is missing.
        urllib.request.urlopen(delete, timeout=_SECONDS).close()

    assert trials[0]["artifacts"] == []
    names = sorted(found["filename"] for found in trials[1]["artifacts"])
    assert names == ["run_1_confusion_matrix.png", "run_1_learning_curve.png"]
    assert bodies == {b"new curve", b"matrix"}
    assert open_storage(url).get_all_studies() == []
    assert list(shared.iterdir()) == []


def test_it_shows_studies_behind_a_storage_server(url: str, study: optuna.Study) -> None:
    with storage_server(url) as server, dashboard(server.url) as (address, _):
        detail = _read(f"{address}/api/studies/{study._study_id}")
    assert detail["name"] == study.study_name


def test_a_second_one_takes_a_free_port_and_a_taken_one_is_refused(
    url: str, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.invoke(["dashboard", "--storage", url, "--port", port]) == 2
    error = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in error
    assert "Fix: leave out --port" in error

    with dashboard(url) as (first, _), dashboard(url) as (second, _):
        assert first != second
        assert _read(f"{second}/api/studies") == _read(f"{first}/api/studies")


def test_another_host_gets_a_warning_that_there_is_no_login(url: str, study: optuna.Study) -> None:
    errors = []
    for host in ("0.0.0.0", "localhost"):
        with dashboard(url, "--host", host, "--port", "0") as (address, process):
            assert urlsplit(address).hostname == {"0.0.0.0": socket.gethostname().lower()}.get(
                host, host
            )
            process.send_signal(signal.SIGINT)
            errors.append(process.communicate(timeout=_SECONDS)[1])

    assert "warning: the dashboard has no login" in errors[0]
    assert errors[1] == ""
    hosts = {"127.0.0.2": True, "::1": True, "192.168.0.1": False, "example.org": False}
    assert {host: is_loopback(host) for host in hosts} == hosts


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--storage", "sqlite:///no.db"], "no.db does not exist"),
        (["--runs-directory", "nowhere"], "nowhere/studies.db does not exist"),
        (["--storage", "sqlite:///empty.db"], "has no Optuna tables"),
        (["--storage", "studies.db"], "sqlite:///studies.db"),
        (["--storage", "grpc://127.0.0.1:1"], "must be a storage server"),
        (["--storage", "sqlite:///a.db", "--artifacts", "no_folder"], "no folder 'no_folder'"),
        (
            ["--storage", "sqlite:///a.db", "--host", "no.such.host.invalid"],
            "address of this machine",
        ),
        (["--port", "99999"], "'--port'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_uses_end_with_code_2_and_one_line(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    open_storage("sqlite:///a.db")
    Path("empty.db").touch()

    assert cli.invoke(["dashboard", *options]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not Path("no.db").exists()
