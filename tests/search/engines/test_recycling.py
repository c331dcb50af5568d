"""When a worker is spent, and which worker takes its place. The processes only sleep."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest

from search.engines.job import WorkerJob
from search.engines.local import pool as local
from search.engines.local.pool import LocalPool
from search.engines.messages import LogPosition, Ready
from search.engines.recycling import is_spent, own_memory
from search.engines.workers import WorkerLimits
from search.errors import SearchFailure
from search.progress.events import TrialFinished, TrialStarted
from search.sizing.worker_plan import WorkerPlan
from search.storage import quiet_optuna
from search.system.crash import Death
from search.system.runtime import Compute
from tests.support.sessions import make_session

_MEBIBYTE = 2**20
_SLEEP = "import time; time.sleep(600)"
_FINISHED = TrialFinished(
    number=0,
    state="complete",
    value=0.5,
    reason=None,
    seconds=1.0,
    best_value=0.5,
    best_trial=0,
)
_KILLED = Death(None, "SIGKILL", False, None)
_FAILED = Death(7, None, False, None)

MakeWorkers = Callable[..., LocalPool]


@pytest.fixture
def make_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorkers]:
    """Creates a supervisor whose workers are all ready and working."""
    made: list[LocalPool] = []
    start = subprocess.Popen

    def start_sleeping(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        return start(["sleep", "600"], **options)

    monkeypatch.setattr("subprocess.Popen", start_sleeping)

    def make(number: int, *, host_memory: int = 2**40, **limits: Any) -> LocalPool:
        study = optuna.create_study()
        session = make_session(study, checkpoints=tmp_path / "checkpoints")
        workers = LocalPool(
            session,
            WorkerJob(experiment=session.experiment),
            plan=WorkerPlan(number, 1, Compute(precision="float32", xla="off")),
            limits=WorkerLimits(**limits),
            host_memory=host_memory,
            logs=tmp_path / "logs",
        )
        made.append(workers)
        workers._start_missing()
        for worker in workers._workers:
            workers._handle(worker, Ready())
        return workers

    with quiet_optuna():
        yield make
        for workers in made:
            with workers._all_ended():
                pass


def test_a_worker_is_spent_after_its_trials_or_when_its_memory_has_grown() -> None:
    def spent(trials: int, holds: int, *, ready: int = 100, **limits: Any) -> bool:
        given = WorkerLimits(**limits)
        return is_spent(given, trials=trials, holds=holds, held_when_ready=ready, share=1200)

    assert [spent(trials, 100, trials_each=3) for trials in range(5)] == [False] * 3 + [True] * 2
    assert not spent(1, 300)
    assert spent(1, 301)
    # With a small share a worker that has just become ready must not be spent.
    assert not spent(1, 400, ready=200)
    assert spent(1, 401, ready=200)
    # Before its first trial a worker is not spent: a new one would be no better.
    assert not spent(0, 10_000)
    # An explicit limit applies as it is.
    assert not spent(1, _MEBIBYTE, memory_mib=1)
    assert spent(1, _MEBIBYTE + 1, memory_mib=1)


def test_shared_memory_does_not_count_as_a_workers_own(tmp_path: Path) -> None:
    size = 48 * _MEBIBYTE
    (tmp_path / "images").write_bytes(bytes(size))
    before, whole_before = own_memory(), psutil.Process().memory_info().rss
    mapped = np.memmap(tmp_path / "images", dtype=np.uint8, mode="r")
    assert int(mapped.max()) == 0
    shared, whole = own_memory() - before, psutil.Process().memory_info().rss - whole_before
    kept = np.ones(size, dtype=np.uint8)

    assert whole > 0.9 * size
    if sys.platform.startswith("linux"):
        assert shared < 0.5 * size
    assert own_memory() - before > 0.9 * kept.nbytes


def test_an_ended_process_holds_no_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", _SLEEP])
    assert own_memory(process.pid) > 0
    process.kill()
    process.wait()
    assert own_memory(process.pid) == 0


def test_a_successor_takes_the_place_of_the_spent_worker(
    make_workers: MakeWorkers,
) -> None:
    workers = make_workers(2, trials_each=1)
    first, second = workers._workers
    assert [first.index, second.index] == [0, 1]
    assert first.working and second.working
    workers._handle(second, _FINISHED)
    workers._start_missing()
    (successor,) = workers._workers[2:]
    assert successor.index == second.index

    # A successor must not take another worker's place: too many would share that place's GPU.
    first.kill()
    workers._bury(first)
    workers._handle(successor, Ready())
    assert second.leaving
    assert not successor.working
    workers._start_missing()
    assert [worker.index for worker in workers._workers] == [1, 1, 0]
    workers._handle(workers._workers[-1], Ready())
    assert workers._workers[-1].working

    second.kill()
    workers._bury(second)
    assert successor.working


def test_two_spent_workers_each_get_their_own_successor(
    make_workers: MakeWorkers,
) -> None:
    workers = make_workers(2, trials_each=1)
    first, second = workers._workers
    for worker in (first, second):
        workers._handle(worker, _FINISHED)
    workers._start_missing()
    assert [worker.index for worker in workers._workers] == [0, 1, 0, 1]
    workers._handle(workers._workers[3], Ready())
    assert (first.leaving, second.leaving) == (False, True)


def test_a_spent_worker_stays_spent(
    make_workers: MakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = [100]
    monkeypatch.setattr(local, "own_memory", lambda process: holds[0])
    workers = make_workers(1, host_memory=1200)
    (worker,) = workers._workers
    # During a trial it may hold as much as it needs.
    holds[0] = 5000
    workers._start_missing()
    assert workers._workers == [worker]

    holds[0] = 301
    workers._handle(worker, _FINISHED)
    workers._start_missing()
    (successor,) = workers._workers[1:]
    # After the next trial it may hold less again, but its successor has already started.
    holds[0] = 100
    workers._handle(worker, _FINISHED)
    workers._handle(successor, Ready())
    assert worker.leaving


def test_a_ready_successor_is_reconsidered_at_the_next_check(make_workers: MakeWorkers) -> None:
    workers = make_workers(1, trials_each=1)
    (worker,) = workers._workers
    workers._handle(worker, _FINISHED)
    workers._start_missing()
    worker.spent = False
    workers._handle(workers._workers[1], Ready())
    assert not worker.leaving
    worker.spent = True
    workers._looked = time.monotonic() - 5
    assert workers._look_around()
    assert worker.leaving


def test_a_crash_is_diagnosed_from_the_log_of_its_own_trial(make_workers: MakeWorkers) -> None:
    workers = make_workers(1)
    (worker,) = workers._workers
    earlier = "RESOURCE_EXHAUSTED: handled by the trial before\n"
    worker.child.log.write_text(earlier + "Fatal Python error: Segmentation fault\n")
    workers._handle(worker, LogPosition(len(earlier)))

    assert worker.last_words() == "Fatal Python error: Segmentation fault\n"
    assert not worker.child.watch.diagnose(-11, last_words=worker.last_words()).out_of_memory


@pytest.mark.parametrize(("death", "most"), [(_FAILED, 3), (_KILLED, 10)])
def test_repeated_deaths_before_the_first_trial_end_the_search(
    make_workers: MakeWorkers, death: Death, most: int
) -> None:
    workers = make_workers(1)
    (worker,) = workers._workers
    worker.child.log.write_text("no luck here.\n")
    for _ in range(2):
        for _ in range(most - 1):
            workers._judge_start(worker, death)
        # A worker that starts a trial restores the patience.
        workers._handle(worker, TrialStarted(number=0, summary="small", epochs=1))
    for _ in range(most - 1):
        workers._judge_start(worker, death)
    with pytest.raises(SearchFailure) as raised:
        workers._judge_start(worker, death)

    text = str(raised.value)
    assert f"load the images; {most} ended before their first trial: {death.describe()}" in text
    assert text.endswith("no luck here. Fix: run with --workers 0 to see the error here.")


def test_a_refused_process_is_reported_with_a_fix(
    make_workers: MakeWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(SearchFailure, match=r"refused: .*unavailable\. Fix: lower --workers, or"):
        make_workers(1)
