"""A worker's resources on a Ray cluster, and what is refused without asking any cluster."""

import math
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cnn_blocks.errors import UserError
from search.cli.app import invoke
from search.engines.ray.resources import WorkerResources
from search.engines.ray.worker import _node, _spent
from search.engines.workers import RayWorkers, WorkerLimits


@pytest.mark.parametrize(
    ("cpus", "gpus", "resources", "places"),
    [
        (1, 0, {"CPU": 4.0, "GPU": 1.0}, 4),
        (0.5, 0, {"CPU": 1.0}, 2),
        (3, 0, {"CPU": 8.0}, 2),
        (1, 0.25, {"CPU": 16.0, "GPU": 2.0}, 8),
        (1, 0.4, {"CPU": 16.0, "GPU": 2.0}, 4),  # not 5: a fraction never spans two GPUs
        (1, 2, {"CPU": 16.0, "GPU": 5.0}, 2),
        (4, 0.25, {"CPU": 8.0, "GPU": 2.0}, 2),
        (1, 0.5, {"CPU": 4.0}, 0),
        (1, 0, {"memory": 1e9}, 0),
    ],
)
def test_how_many_workers_fit_on_a_node(
    cpus: float, gpus: float, resources: dict[str, float], places: int
) -> None:
    assert WorkerResources(cpus=cpus, gpus=gpus).fits(resources) == places


def test_a_worker_is_limited_to_its_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = WorkerResources(cpus=3, gpus=0).environment()
    assert alone["OMP_NUM_THREADS"] == alone["TF_NUM_INTRAOP_THREADS"] == "3"
    assert alone["CUDA_VISIBLE_DEVICES"] == "-1"
    assert WorkerResources(cpus=0.5, gpus=0).environment()["OMP_NUM_THREADS"] == "1"

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7")  # as Ray sets it
    sharing = WorkerResources(cpus=1, gpus=0.25).environment()
    assert sharing["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert sharing["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert float(sharing["XLA_PYTHON_CLIENT_MEM_FRACTION"]) <= 0.25


def test_a_gpu_fraction_refers_to_the_whole_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the free memory, which is less while the other workers run.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("search.engines.ray.resources.whole_gpu_memory", lambda: 80 * 2**30)
    monkeypatch.setattr("search.engines.ray.worker.whole_gpu_memory", lambda: 80 * 2**30)
    node = {"CPU": 8.0, "GPU": 1.0, "memory": 64.0 * 2**30}
    ray = SimpleNamespace(
        get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "this"),
        nodes=lambda: [{"NodeID": "this", "NodeManagerAddress": "10.0.0.1", "Resources": node}],
    )
    monkeypatch.setitem(sys.modules, "ray", cast(Any, ray))
    resources = WorkerResources(cpus=2, gpus=0.25)

    assert resources.environment()["CNN_SEARCH_GPU_MEMORY_MIB"] == str(int(20 * 1024 * 0.9))
    assert _node(resources) == ("this", "10.0.0.1", 20 * 2**30, 16 * 2**30)
    assert _node(WorkerResources(cpus=2, gpus=0)) == ("this", "10.0.0.1", 16 * 2**30, 16 * 2**30)


def test_a_ray_worker_is_spent_by_the_node_memory_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holds = iter([100, 150, 290, 310])
    monkeypatch.setattr("search.engines.ray.worker.own_memory", lambda: next(holds))
    spent = _spent(WorkerLimits(), 1200)
    assert [spent() for _ in range(4)] == [False, False, False, True]

    monkeypatch.setattr("search.engines.ray.worker.own_memory", lambda: 100)
    spent = _spent(WorkerLimits(trials_each=2), 1200)
    assert [spent() for _ in range(3)] == [False, False, True]


def test_resources_that_ray_could_not_place_are_refused() -> None:
    assert (RayWorkers().cpus, RayWorkers().gpus) == (1.0, 0.0)
    with pytest.raises(UserError, match=r"a number above 0; received nan\. Fix: "):
        RayWorkers(cpus=math.nan)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--address", "127.0.0.1:6379"], "--address needs '--engine ray'"),
        (["--address", "127.0.0.1:6379"], "Fix: add --engine ray, or leave out --address."),
        (["--cpus-each", "2", "--gpus-each", "1"], "--cpus-each, --gpus-each needs"),
        (["--engine", "ray", "--workers", "0"], "received 0 workers"),
        (
            ["--engine", "ray", "--cpus-each", "0"],
            "above 0; received 0. Fix: use a number such as 0.5",
        ),
        (["--engine", "ray", "--gpus-each", "1.5"], "--gpus-each must be a fraction"),
        (["--engine", "ray", "--gpus-each", "-1"], "--gpus-each must be a fraction"),
        (["--engine", "dask"], "'dask' is not one of 'local', 'ray'"),
    ],
)
def test_bad_combinations_exit_with_code_2(
    capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    assert invoke(["--study", "quickstart", *options], command="run") == 2
    error = capsys.readouterr().err
    assert problem in error
    assert "Traceback" not in error


def test_a_recipe_refuses_engine_options(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--recipe", "g3_homebrew", "--engine", "ray", "--address", "127.0.0.1:6379"]
    assert invoke(arguments, command="run") == 2
    assert "--engine, --address" in capsys.readouterr().err
