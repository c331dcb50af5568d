"""What is done before workers start, and what each is told of the machine's memory."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from search.engines import launch
from search.engines.job import WorkerJob, WorkerLimits
from search.sizing.worker_plan import WorkerPlan
from search.storage import TrialAttribute, quiet_optuna
from search.storage.artifacts import open_artifacts
from search.trials.checkpoints import shared_name
from search.trials.lease import Lease
from search.trials.outcomes import Outcome, outcome_of
from search.trials.shared_checkpoints import SharedCheckpoints
from tests.support.jobs import make_job

_GIBIBYTE = 2**30

Start = Callable[..., dict[str, Any]]


@pytest.fixture
def study() -> optuna.Study:
    with quiet_optuna():
        return optuna.create_study()


@pytest.fixture
def started(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a search by a plan; returns what its workers are to be told."""
    given: dict[str, Any] = {}

    class Workers:
        def __init__(self, study: object, context: object, job: WorkerJob, **options: Any) -> None:
            given.update(options, job=job)

        def run(self) -> None:
            pass

    def start(plan: WorkerPlan, shared: SharedCheckpoints | None = None) -> dict[str, Any]:
        monkeypatch.setattr(launch, "_plan", lambda *unused, **options: plan)
        context: Any = SimpleNamespace(shared=shared)
        launch.search_with_workers(
            study,
            context,
            make_job(),
            workers=plan.workers,
            budget_seconds=None,
            limits=WorkerLimits(),
            logs=Path("logs"),
        )
        return given

    monkeypatch.setattr(launch, "LocalWorkers", Workers)
    monkeypatch.setattr(launch, "search_session", lambda *unused, **options: nullcontext())
    free = {True: 80 * _GIBIBYTE, False: 32 * _GIBIBYTE}
    monkeypatch.setattr("search.training.feasibility.free_memory", lambda *, on_gpu: free[on_gpu])
    return start


def test_workers_on_gpus_share_those_and_the_machines_memory(started: Start) -> None:
    told = started(WorkerPlan(4, 1, "float32", "off", gpus=("GPU-a", "GPU-b")))

    assert told["job"].memory_bytes == 40 * _GIBIBYTE
    # What they hold after a trial is held against the memory that it is held in.
    assert told["host_memory"] == 8 * _GIBIBYTE
    assert told["limits"].memory_mib is None


def test_workers_without_gpus_share_the_machines_memory(started: Start) -> None:
    told = started(WorkerPlan(4, 1, "float32", "off"))

    assert told["job"].memory_bytes == told["host_memory"] == 8 * _GIBIBYTE


def test_what_has_failed_for_good_when_a_search_starts_leaves_no_shared_checkpoint(
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

    started(WorkerPlan(1, 1, "float32", "off"), shared)

    assert outcome_of(study.trials[0]) is Outcome.FAILED
    assert not shared.pull(name, tmp_path / "there")
