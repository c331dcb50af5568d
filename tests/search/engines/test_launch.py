"""The choice of an engine, and what an engine does before workers start."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.engines.job import WorkerJob
from search.engines.launch import engine_for, without_needless_workers
from search.engines.local import engine as local_engine
from search.engines.local.engine import LocalEngine
from search.engines.workers import LocalWorkers, RayWorkers, WorkerLimits, workers_of
from search.sizing.time_plan import TimePlan
from search.sizing.worker_plan import WorkerPlan
from search.storage import TrialAttribute, quiet_optuna
from search.storage.artifacts import open_artifacts
from search.system.runtime import Compute
from search.trials.checkpoints import shared_name
from search.trials.lease import Lease
from search.trials.outcomes import Outcome, outcome_of
from search.trials.shared_checkpoints import SharedCheckpoints
from tests.support.sessions import make_session

_GIBIBYTE = 2**30
FLOAT32 = Compute(precision="float32", xla="off")

Start = Callable[..., dict[str, Any]]


@pytest.fixture
def study() -> optuna.Study:
    with quiet_optuna():
        return optuna.create_study()


@pytest.fixture
def started(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a search with a plan; returns what the pool of workers receives."""
    given: dict[str, Any] = {}

    class Pool:
        def __init__(self, session: object, job: WorkerJob, **options: Any) -> None:
            given.update(options, job=job)

        def run(self) -> None:
            pass

    def start(plan: WorkerPlan, shared: SharedCheckpoints | None = None) -> dict[str, Any]:
        monkeypatch.setattr(LocalEngine, "_plan", lambda *unused: plan)
        engine = LocalEngine(LocalWorkers(number=plan.workers), logs=Path("logs"))
        engine.search(make_session(study, shared=shared))
        return given

    monkeypatch.setattr(local_engine, "LocalPool", Pool)
    monkeypatch.setattr(local_engine, "searching", lambda *unused: nullcontext())
    free = {True: 80 * _GIBIBYTE, False: 32 * _GIBIBYTE}
    monkeypatch.setattr("search.training.feasibility.free_memory", lambda *, on_gpu: free[on_gpu])
    return start


def test_workers_on_gpus_share_gpu_and_machine_memory(started: Start) -> None:
    told = started(WorkerPlan(4, 1, FLOAT32, gpus=("GPU-a", "GPU-b")))

    assert told["job"].memory_bytes == 40 * _GIBIBYTE
    # The memory held after a trial is compared with the machine's memory, where it is held.
    assert told["host_memory"] == 8 * _GIBIBYTE
    assert told["limits"].memory_mib is None


def test_workers_without_gpus_share_the_machines_memory(started: Start) -> None:
    told = started(WorkerPlan(4, 1, FLOAT32))

    assert told["job"].memory_bytes == told["host_memory"] == 8 * _GIBIBYTE


def test_a_trial_that_fails_when_a_search_starts_leaves_no_shared_checkpoint(
    started: Start, study: optuna.Study, tmp_path: Path
) -> None:
    shared = SharedCheckpoints(open_artifacts(tmp_path / "everywhere"), warn=pytest.fail)
    trial = study.ask()
    trial.set_user_attr(TrialAttribute.CRASHES, WorkerLimits().retries)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "checkpoint.npz").write_bytes(b"an epoch")
    with Lease(trial):
        name = shared_name(study, study.trials[0])
        assert shared.push(tmp_path / "here", name)

    started(WorkerPlan(1, 1, FLOAT32), shared)

    assert outcome_of(study.trials[0]) is Outcome.FAILED
    assert not shared.pull(name, tmp_path / "there")


@pytest.mark.parametrize(
    ("workers", "trains_here"),
    [(0, True), (2, False), ("auto", False), (LocalWorkers(number=0), True), (RayWorkers(), False)],
)
def test_the_workers_determine_the_engine(workers: Any, trains_here: bool) -> None:
    assert engine_for(workers_of(workers), logs=Path("logs")).trains_here is trains_here


@pytest.mark.parametrize(
    ("number", "seconds", "trains_here"),
    [("auto", 30.0, True), ("auto", 300.0, False), ("auto", None, False), (2, 30.0, False)],
)
def test_a_brief_search_starts_no_worker_unless_asked_to(
    number: Any, seconds: float | None, trains_here: bool
) -> None:
    engine = engine_for(LocalWorkers(number=number), logs=Path("logs"))

    chosen = without_needless_workers(engine, TimePlan(search_seconds=seconds))

    assert chosen.trains_here is trains_here
