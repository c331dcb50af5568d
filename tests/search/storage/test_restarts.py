"""A study continues after a restart of its server, and every trial is accounted for."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.queues import Queue
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from search.storage import open_storage, quiet_optuna
from tests.support.postgresql import Cluster
from tests.support.storage_servers import storage_server

_WORKERS = 3
_TRIALS_OF_EACH = 15
_STEPS = 4

_Served = AbstractContextManager[tuple[str, Callable[[], None]]]


def _work(url: str, told: "Queue[dict[int, float]]") -> None:
    with quiet_optuna():
        study = optuna.load_study(
            study_name="restarted", storage=open_storage(url), sampler=TPESampler()
        )
        results = {}
        for _ in range(_TRIALS_OF_EACH):
            trial = study.ask()
            value = trial.suggest_float("x", 0, 1)
            for step in range(_STEPS):
                time.sleep(0.05)
                trial.report(value + step, step)
            trial.set_user_attr("value", value)
            study.tell(trial, value)
            results[trial.number] = value
    told.put(results)


@contextmanager
def _stopped(cluster: Cluster, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    yield cluster.new_database(), cluster.restart


@contextmanager
def _crashed(cluster: Cluster, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    yield cluster.new_database(), lambda: cluster.restart("immediate")


@contextmanager
def _killed_proxy(cluster: Cluster, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    with storage_server(f"sqlite:///{folder / 'studies.db'}") as server:

        def restart() -> None:
            server.kill()
            server.start()

        yield server.url, restart


@pytest.mark.slow
@pytest.mark.parametrize("serve", [_stopped, _crashed, _killed_proxy])
def test_every_trial_is_accounted_for(
    serve: Callable[[Cluster, Path], _Served],
    tmp_path: Path,
    postgresql_cluster: Cluster,
) -> None:
    with serve(postgresql_cluster, tmp_path) as (url, restart), quiet_optuna():
        study = optuna.create_study(
            storage=open_storage(url), study_name="restarted", sampler=RandomSampler()
        )
        context = multiprocessing.get_context("spawn")
        told = context.Queue()
        workers = [context.Process(target=_work, args=(url, told)) for _ in range(_WORKERS)]
        for worker in workers:
            worker.start()
        for restarts in range(1, 4):
            while len(study.trials) < restarts * _WORKERS * _TRIALS_OF_EACH // 4:
                time.sleep(0.05)
            restart()
        results: dict[int, float] = {}
        for _ in workers:
            results.update(told.get(timeout=180))
        for worker in workers:
            worker.join()
        trials = study.trials

    assert {trial.number: trial.value for trial in trials} == results
    assert sorted(results) == list(range(_WORKERS * _TRIALS_OF_EACH))
    for trial in trials:
        assert trial.state is TrialState.COMPLETE
        value = results[trial.number]
        assert trial.intermediate_values == {step: value + step for step in range(_STEPS)}
        assert trial.params == {"x": value}
        assert trial.user_attrs == {"value": value}
