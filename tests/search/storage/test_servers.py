"""Errors for unusable storage servers, and options for usable ones."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from wsgiref.simple_server import make_server

import optuna
import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from optuna_dashboard import wsgi  # type: ignore[import-untyped]

from cnn_blocks.errors import UserError
from search.storage import open_storage, quiet_optuna, servers
from search.storage.connections import ConnectionLostError
from search.storage.retrying import RetryingStorage
from tests.support.postgresql import Cluster, private_cluster
from tests.support.server_process import free_port
from tests.support.storage_servers import storage_server


def test_a_wrong_password_is_reported_and_not_shown(postgresql_cluster: Cluster) -> None:
    with pytest.raises(UserError, match="Fix: correct user and password") as raised:
        open_storage(postgresql_cluster.url_of("postgres", password="not-this-one"))

    assert "not-this-one" not in str(raised.value)
    assert postgresql_cluster.password not in str(raised.value)


def test_an_unknown_database_is_reported(postgresql_cluster: Cluster) -> None:
    with pytest.raises(UserError, match=r'"nowhere" does not exist.*createdb'):
        open_storage(postgresql_cluster.url_of("nowhere"))


def test_an_unknown_host_is_reported() -> None:
    with pytest.raises(UserError, match="Fix: correct the host name"):
        open_storage("postgresql+psycopg://user:secret@host.invalid/studies")


def test_the_command_says_that_a_server_is_down(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "search.run",
                "--study",
                "quickstart",
                "--runs-directory",
                tmp_path,
            ),
            *("--storage", f"postgresql+psycopg://user:secret@127.0.0.1:{free_port()}/studies"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "Fix: start the server, or correct host and port" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_of_a_newer_optuna_is_left_as_it_is(postgresql_cluster: Cluster) -> None:
    url = postgresql_cluster.new_database()
    open_storage(url)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.execute("DROP TABLE trial_heartbeats")

    with pytest.raises(UserError, match="another version of Optuna"):
        open_storage(url)

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT to_regclass('trial_heartbeats')").fetchone()
    assert found == (None,)


def test_workers_that_start_together_make_one_database(postgresql_cluster: Cluster) -> None:
    url = postgresql_cluster.new_database()
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_storage, [url] * 8))

    assert all(storage.get_all_studies() == [] for storage in opened)


def test_a_server_that_starts_late_is_waited_for() -> None:
    # A private server: the server shared by the tests must not stop.
    with private_cluster() as cluster:
        cluster.stop()
        late = threading.Timer(1.5, cluster.start)
        late.start()
        storage = open_storage(cluster.url, patience_seconds=60)
        late.join()

        assert storage.get_all_studies() == []


def test_the_dashboard_shows_a_study_of_a_storage_with_a_server(
    postgresql_cluster: Cluster,
) -> None:
    storage = open_storage(postgresql_cluster.new_database())
    with quiet_optuna():
        optuna.create_study(storage=storage, study_name="shown").enqueue_trial({"x": 0.5})
    server = make_server("127.0.0.1", 0, wsgi(storage))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/api/studies"
        with urllib.request.urlopen(address) as answer:
            studies = json.load(answer)["study_summaries"]
        with urllib.request.urlopen(f"{address}/{studies[0]['study_id']}?after=0") as answer:
            trials = json.load(answer)["trials"]
    finally:
        server.shutdown()
        server.server_close()

    assert [study["study_name"] for study in studies] == ["shown"]
    assert [trial["state"] for trial in trials] == ["Waiting"]


def test_a_connection_that_the_server_ended_is_not_noticed(
    postgresql_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    storage = open_storage(postgresql_cluster.new_database())
    assert storage.get_all_studies() == []
    with psycopg.connect(
        postgresql_cluster.url.replace("+psycopg", ""), autocommit=True
    ) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )

    assert isinstance(storage, RetryingStorage)
    # No retry needed: the pool's ping notices the restart before the operation begins.
    assert storage.wrapped.get_all_studies() == []
    assert caplog.records == []


def test_a_storage_server_serves_a_study(tmp_path: Path) -> None:
    with storage_server(f"sqlite:///{tmp_path / 'studies.db'}") as server, quiet_optuna():
        study = optuna.create_study(storage=open_storage(server.url), study_name="far")
        study.tell(study.ask(), 0.5)

        assert (
            optuna.load_study(study_name="far", storage=open_storage(server.url)).best_value == 0.5
        )


def test_a_storage_server_that_is_away_is_reported_within_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=r"answers within 5 s; received: no answer.*storage serve"):
        open_storage(f"grpc://127.0.0.1:{free_port()}")
    assert time.monotonic() - started < 20


def test_another_server_is_no_storage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UserError, match="must be a storage server"):
            open_storage(f"grpc://127.0.0.1:{listener.getsockname()[1]}")


def test_a_call_that_nobody_answers_ends_as_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "_CALL_SECONDS", 0.2)
    monkeypatch.setattr(servers, "_READING_SECONDS", 0.2)
    # It accepts connections but never replies.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.warns(match="experimental"):
            proxy = servers.Proxy(host="127.0.0.1", port=listener.getsockname()[1])
        storage = RetryingStorage(
            proxy, reopen=lambda: proxy, close=proxy.close, patience_seconds=0
        )
        for call in (storage.get_all_studies, lambda: storage.get_all_trials(0)):
            with pytest.raises(StorageInternalError, match="DEADLINE_EXCEEDED") as raised:
                call()
            assert isinstance(raised.value.__cause__, ConnectionLostError)


@pytest.mark.slow
def test_a_suspended_storage_server_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_CALL_SECONDS", 5)
    with storage_server(f"sqlite:///{tmp_path / 'studies.db'}") as server, quiet_optuna():
        study = optuna.create_study(storage=open_storage(server.url), study_name="far")
        trial = study.ask()
        server.suspend()
        wakes = threading.Timer(8, server.resume)
        wakes.start()
        study.tell(trial, 0.5)
        wakes.join()

        assert [(trial.state, trial.value) for trial in study.trials] == [
            (TrialState.COMPLETE, 0.5)
        ]


@pytest.mark.parametrize("url", ["grpc://host", "grpc://host:13000/studies", "grpc://:13000"])
def test_a_storage_server_needs_host_and_port(url: str) -> None:
    with pytest.raises(UserError, match=r"grpc://HOST:PORT; received"):
        open_storage(url)
