"""A waiting trial is claimed by one process, told once, and can be returned to the queue."""

import multiprocessing
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from search.optimize.warm_start import enqueue_once
from search.storage import open_storage, quiet_optuna
from search.trials.attempts import claim, recover_abandoned
from search.trials.lease import Lease, LeaseWatch, lease_of
from search.trials.outcomes import Outcome, outcome_of
from tests.support.attributes import give_lease
from tests.support.postgresql import Cluster
from tests.support.storage_servers import storage_server

_PROCESSES = 4
_ASKED_BY_EACH = 12
_WAITING = 30
_STARTS = [{"x": value} for value in range(10)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_optuna():
        yield


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("grpc", marks=pytest.mark.slow)])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty storage, for each kind of storage."""
    file = f"sqlite:///{tmp_path / 'studies.db'}"
    if request.param == "sqlite":
        yield file
    elif request.param == "grpc":
        with storage_server(file) as server:
            yield server.url
    else:
        cluster: Cluster = request.getfixturevalue("postgresql_cluster")
        yield cluster.new_database()


def _ask(url: str, start: Barrier, done: "Queue[list[int]]") -> None:
    study = optuna.load_study(study_name="shared", storage=open_storage(url))
    start.wait()
    done.put([study.ask().number for _ in range(_ASKED_BY_EACH)])


def _end(url: str, start: Barrier, done: "Queue[list[int]]") -> None:
    study = optuna.load_study(study_name="shared", storage=open_storage(url))
    ended = []
    running = study.get_trials(states=(TrialState.RUNNING,))
    start.wait()
    for trial in running:
        with suppress(UpdateFinishedTrialError):
            if study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL):
                ended.append(trial.number)
    done.put(ended)


def _enqueue(url: str, start: Barrier, done: "Queue[list[int]]") -> None:
    study = optuna.load_study(study_name="shared", storage=open_storage(url))
    start.wait()
    for parameters in _STARTS:
        enqueue_once(study, parameters)
    done.put([])


def _in_processes(work: Callable[[str, Barrier, "Queue[list[int]]"], None], url: str) -> list[int]:
    """Runs the same work in several processes at once and returns all their results."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(_PROCESSES), context.Queue()
    processes = [context.Process(target=work, args=(url, start, done)) for _ in range(_PROCESSES)]
    for process in processes:
        process.start()
    numbers = [number for _ in processes for number in done.get(timeout=60)]
    for process in processes:
        process.join()
    return sorted(numbers)


def test_processes_that_ask_at_once_get_different_trials(any_storage: str) -> None:
    study = optuna.create_study(storage=open_storage(any_storage), study_name="shared")
    for value in range(_WAITING):
        study.enqueue_trial({"x": value})

    assert _in_processes(_ask, any_storage) == list(range(_PROCESSES * _ASKED_BY_EACH))


def test_of_processes_that_end_a_trial_at_once_a_single_one_does(any_storage: str) -> None:
    study = optuna.create_study(storage=open_storage(any_storage), study_name="shared")
    running = [study.ask().number for _ in range(_WAITING)]

    assert _in_processes(_end, any_storage) == running


@pytest.mark.slow
def test_processes_that_enqueue_the_first_trials_at_once_leave_one_of_each(
    any_storage: str,
) -> None:
    study = optuna.create_study(storage=open_storage(any_storage), study_name="shared")

    _in_processes(_enqueue, any_storage)

    trials = study.get_trials()
    waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == _STARTS
    others = [trial for trial in trials if trial.state is not TrialState.WAITING]
    assert {outcome_of(trial) for trial in others} <= {Outcome.INTERRUPTED}


def test_a_running_trial_that_is_given_back_is_asked_for_again(any_storage: str) -> None:
    first = optuna.create_study(
        storage=open_storage(any_storage), study_name="shared", sampler=RandomSampler(seed=1)
    )
    second = optuna.load_study(
        study_name="shared", storage=open_storage(any_storage), sampler=RandomSampler(seed=2)
    )
    given_back = first.ask()
    value = given_back.suggest_float("x", 0, 1)
    given_back.report(0.25, 0)
    given_back.set_user_attr("note", "kept")
    # A later finished trial moves the boundary up to which the caches regard trials as final.
    first.tell(first.ask(), 0.0)
    assert [trial.state for trial in second.trials] == [TrialState.RUNNING, TrialState.COMPLETE]

    assert first._storage.set_trial_state_values(given_back._trial_id, TrialState.WAITING)

    for study in (first, second):
        assert [t.number for t in study.get_trials(states=(TrialState.WAITING,))] == [0]
    again = second.ask()
    assert again.number == 0
    assert again.suggest_float("x", 0, 1) == value
    frozen = second.tell(again, 0.5)
    assert (frozen.user_attrs, frozen.intermediate_values) == ({"note": "kept"}, {0: 0.25})
    assert [trial.state for trial in first.trials] == [TrialState.COMPLETE, TrialState.COMPLETE]
    assert first.ask().number == 2


def test_a_late_tell_is_refused(any_storage: str) -> None:
    study = optuna.create_study(storage=open_storage(any_storage), study_name="shared")
    other = optuna.load_study(study_name="shared", storage=open_storage(any_storage))
    trial = study.ask()
    other.tell(trial.number, state=TrialState.FAIL)

    for state, values in ((TrialState.COMPLETE, [1.0]), (TrialState.FAIL, None)):
        with pytest.raises(UpdateFinishedTrialError):
            study._storage.set_trial_state_values(trial._trial_id, state, values)
    with pytest.raises(UpdateFinishedTrialError):
        trial.set_user_attr("late", 1)

    assert study.trials[0].state is TrialState.FAIL


def test_an_abandoned_trial_is_recovered_once(any_storage: str) -> None:
    study = optuna.create_study(storage=open_storage(any_storage), study_name="shared")
    other = optuna.load_study(study_name="shared", storage=open_storage(any_storage))
    dead, alive = study.ask(), study.ask()
    value = dead.suggest_float("x", 0, 1)
    dead.report(0.25, 1)
    with Lease(dead, seconds=0.4), Lease(alive):
        assert recover_abandoned(other, LeaseWatch()) == []
        deadline = time.monotonic() + 60
        while lease_of(other.trials[dead.number])["beat"] < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        held = lease_of(other.trials[dead.number])
    give_lease(dead, {**held, "started": "before"})
    with Lease(alive):
        assert recover_abandoned(other, LeaseWatch()) == [dead.number]
        assert recover_abandoned(study, LeaseWatch()) == []
    with pytest.raises(UpdateFinishedTrialError):
        dead.report(0.5, 2)

    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING]
    assert outcome_of(study.trials[0]) is Outcome.CRASHED
    again = study.ask()
    assert claim(study, again) is None
    assert again.suggest_float("x", 0, 1) == value
    assert other.trials[again.number].intermediate_values == {1: 0.25}


def test_a_study_is_pickled_with_its_storage(any_storage: str) -> None:
    study = optuna.create_study(storage=open_storage(any_storage), study_name="shared")
    study.enqueue_trial({"x": 0.5})
    copy = pickle.loads(pickle.dumps(study))

    assert copy.ask().suggest_float("x", 0, 1) == 0.5
    assert study.ask().number == 1
