"""The storage server: start, shutdown, and a hundred clients at once."""

import multiprocessing
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from search.cli import app as cli
from search.storage import open_storage, quiet_optuna
from tests.support.postgresql import Cluster

_PROCESSES = 4
_CLIENTS_OF_EACH = 25
_TRIALS_OF_EACH = 5
_STEPS = 3
_SECONDS = 60

# Values by trial number, and failures.
Ended = tuple[dict[int, float], list[str]]


@contextmanager
def serving(behind: str, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Runs `serve` for a storage during the block; yields the URL for clients."""
    process = subprocess.Popen(
        [sys.executable, "-m", "search.storage", "serve", "--storage", behind, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("clients connect with --storage grpc://"), process.communicate()
        yield line.split()[4].rstrip(";"), process
    finally:
        process.kill()
        process.communicate(timeout=_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_clients_work_until_a_signal_ends_the_server(number: int, tmp_path: Path) -> None:
    behind = f"sqlite:///{tmp_path / 'studies.db'}"
    with serving(behind, "--port", "0", "--host", "127.0.0.1") as (url, process), quiet_optuna():
        study = optuna.create_study(storage=open_storage(url), study_name="served")
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
        process.send_signal(number)
        _, error = process.communicate(timeout=_SECONDS)

        assert url.startswith("grpc://127.0.0.1:")
        assert process.returncode == 130
        assert error == "interrupted\n"
        stored = optuna.load_study(study_name="served", storage=open_storage(behind))
        assert [trial.state for trial in stored.trials] == [TrialState.COMPLETE]


def test_an_interface_for_all_is_announced_by_the_machines_name(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'a.db'}", "--port", "0", "--host", "0.0.0.0") as (url, _):
        assert url.startswith(f"grpc://{socket.gethostname()}:")


def test_a_port_that_another_server_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    behind = f"sqlite:///{tmp_path / 'studies.db'}"
    with serving(behind, "--port", "0") as (url, _):
        port = url.rpartition(":")[2]

        assert cli.invoke(["storage", "serve", "--storage", behind, "--port", port]) == 2

    error = capsys.readouterr().err
    assert f"localhost:{port}" in error
    assert "--port" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--storage", "grpc://localhost:13000"], "needs the database itself"),
        (["--storage", "studies.db"], "sqlite:///studies.db"),
        (["--host", "no.such.host.invalid"], "address of this machine"),
        (["--threads", "0"], "'--threads'"),
        (["--port", "99999"], "'--port'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_uses_end_with_code_2(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert cli.invoke(["storage", "serve", *options]) == 2

    assert words in capsys.readouterr().err


def _clients(url: str, ended: "Queue[Ended]") -> None:
    """Runs clients in threads, each with its own connection and study."""
    told: dict[int, float] = {}
    failures: list[str] = []

    def client() -> None:
        try:
            study = optuna.load_study(
                study_name="served", storage=open_storage(url), sampler=RandomSampler()
            )
            for _ in range(_TRIALS_OF_EACH):
                trial = study.ask()
                value = trial.suggest_float("x", 0, 1)
                trial.suggest_categorical("kind", ["a", "b"])
                for step in range(_STEPS):
                    trial.report(value + step, step)
                trial.set_user_attr("value", value)
                study.tell(trial, value)
                told[trial.number] = value
        except Exception as error:
            failures.append(f"{error!r} from {error.__cause__!r}")

    with quiet_optuna():
        threads = [threading.Thread(target=client) for _ in range(_CLIENTS_OF_EACH)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ended.put((told, failures))


@pytest.mark.slow
@pytest.mark.parametrize("threads", [10, 100])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_hundred_clients_lose_nothing(
    database: str, threads: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    behind = f"sqlite:///{tmp_path / 'studies.db'}"
    if database == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgresql_cluster")
        behind = cluster.new_database()

    with quiet_optuna():
        optuna.create_study(storage=open_storage(behind), study_name="served")
    context = multiprocessing.get_context("spawn")
    ended: Queue[Ended] = context.Queue()
    with serving(behind, "--port", "0", "--threads", str(threads)) as (url, _):
        processes = [context.Process(target=_clients, args=(url, ended)) for _ in range(_PROCESSES)]
        for process in processes:
            process.start()
        results = [ended.get(timeout=600) for _ in processes]
        for process in processes:
            process.join(_SECONDS)

    assert [failure for _, failures in results for failure in failures] == []
    told = {number: value for values, _ in results for number, value in values.items()}
    expected = _PROCESSES * _CLIENTS_OF_EACH * _TRIALS_OF_EACH
    assert sum(len(values) for values, _ in results) == expected
    assert sorted(told) == list(range(expected))
    with quiet_optuna():
        study = optuna.load_study(study_name="served", storage=open_storage(behind))
    assert [trial.number for trial in study.trials] == list(range(expected))
    for trial in study.trials:
        value = told[trial.number]
        assert trial.state is TrialState.COMPLETE
        assert (trial.value, trial.user_attrs["value"]) == (value, value)
        assert trial.intermediate_values == {step: value + step for step in range(_STEPS)}
    assert cli.invoke(["storage", "check", "--storage", behind]) == 0
