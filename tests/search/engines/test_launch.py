"""What each worker is told of the machine's memory."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import optuna
import pytest

from search.engines import launch
from search.engines.job import WorkerJob, WorkerLimits
from search.storage import quiet_optuna
from search.workers.plan import WorkerPlan
from tests.search.engines.jobs import make_job

_GIBIBYTE = 2**30


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[WorkerPlan], dict[str, Any]]:
    """Starts a search by a plan; returns what its workers are to be told."""
    given: dict[str, Any] = {}

    class Workers:
        def __init__(self, study: object, context: object, job: WorkerJob, **options: Any) -> None:
            given.update(options, job=job)

        def run(self) -> None:
            pass

    def start(plan: WorkerPlan) -> dict[str, Any]:
        monkeypatch.setattr(launch, "_plan", lambda *unused, **options: plan)
        with quiet_optuna():
            study = optuna.create_study()
        launch.search_with_workers(
            study,
            cast(Any, None),
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
    monkeypatch.setattr("search.feasibility.free_memory", lambda *, on_gpu: free[on_gpu])
    return start


def test_workers_on_gpus_share_those_and_the_machines_memory(
    started: Callable[[WorkerPlan], dict[str, Any]],
) -> None:
    told = started(WorkerPlan(4, 1, "float32", "off", gpus=("GPU-a", "GPU-b")))

    assert told["job"].memory_bytes == 40 * _GIBIBYTE
    # What they hold after a trial is held against the memory that it is held in.
    assert told["host_memory"] == 8 * _GIBIBYTE
    assert told["limits"].memory_mib is None


def test_workers_without_gpus_share_the_machines_memory(
    started: Callable[[WorkerPlan], dict[str, Any]],
) -> None:
    told = started(WorkerPlan(4, 1, "float32", "off"))

    assert told["job"].memory_bytes == told["host_memory"] == 8 * _GIBIBYTE
