"""Eight processes write to one SQLite file while the dashboard reads it.

Runs for CNN_SEARCH_SOAK_SECONDS seconds (default 20). To verify the claim of ten minutes, set it to
600.
"""

import multiprocessing
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from multiprocessing.queues import Queue
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from search.storage import open_storage, quiet_optuna
from tests.support.server_process import server_process

SECONDS = float(os.environ.get("CNN_SEARCH_SOAK_SECONDS", "20"))
WRITERS = 8
_SECONDS_TO_END = 60


def _write(url: str, seconds: float, ended: "Queue[tuple[int, str | None]]") -> None:
    told, failure = 0, None
    with quiet_optuna():
        try:
            study = optuna.load_study(
                study_name="soak", storage=open_storage(url), sampler=RandomSampler()
            )
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                trial = study.ask()
                value = trial.suggest_float("x", 0, 1)
                trial.suggest_categorical("kind", ["a", "b"])
                trial.set_user_attr("candidate", "c" * 4096)
                for step in range(5):
                    trial.report(value, step)
                study.tell(trial, value)
                told += 1
        except Exception as error:
            failure = f"{error!r} from {error.__cause__!r}"
    ended.put((told, failure))


@pytest.mark.slow
def test_eight_writers_and_the_dashboard_never_find_the_database_locked(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    url = f"sqlite:///{path}"
    with quiet_optuna():
        optuna.create_study(storage=open_storage(url), study_name="soak")
    log = tmp_path / "dashboard.log"
    dashboard = Path(sys.executable).with_name("optuna-dashboard")
    command: list[str | Path] = [dashboard, url]
    with server_process(command, log) as address:
        context = multiprocessing.get_context("spawn")
        ended = context.Queue()
        writers = [
            context.Process(target=_write, args=(url, SECONDS, ended)) for _ in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        reads, failed_reads = _read_while_any_lives(writers, address)
        results = [ended.get(timeout=_SECONDS_TO_END) for _ in writers]
        for writer in writers:
            writer.join()

    told = sum(count for count, _ in results)
    print(f"\n{SECONDS:g} s: {told} trials by {WRITERS} writers, {reads} reads of the dashboard")
    assert [failure for _, failure in results if failure] == []
    assert failed_reads == []
    assert reads > 0
    assert "locked" not in log.read_text(errors="replace")
    with quiet_optuna():
        trials = optuna.load_study(study_name="soak", storage=open_storage(url)).trials
    assert [trial.number for trial in trials] == list(range(told))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def _read_while_any_lives(
    writers: list[multiprocessing.context.SpawnProcess], address: str
) -> tuple[int, list[str]]:
    reads, failures = 0, []
    while any(writer.exitcode is None for writer in writers):
        for page in ("studies", "studies/1?after=0"):
            try:
                with urllib.request.urlopen(f"{address}/api/{page}") as answer:
                    answer.read()
                    reads += 1
            except urllib.error.HTTPError as error:
                failures.append(f"{page}: {error.code} {error.read()!r}")
        time.sleep(0.2)
    return reads, failures
