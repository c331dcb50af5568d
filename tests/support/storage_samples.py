"""Sample studies of every kind that a storage can hold, and their content for comparisons."""

import math
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.optimize.fingerprint import StudyIdentity
from search.storage import StudyAttribute, TrialAttribute, open_storage, quiet_optuna
from search.storage.attributes import set_trial_attribute
from search.system.processes import host_identity, process_identity
from search.trials.outcomes import Outcome

IDENTITY = StudyIdentity(
    space_fingerprint="a" * 64,
    data_fingerprint="b" * 64,
    image_shape="8x8",
    fit="crop",
    metric="accuracy",
    epochs=2,
    step_unit="1 epoch",
    seed=0,
    split_fractions="train 0.7, validation 0.15, test 0.15",
    split_sha256="c" * 64,
)


def make_studies(url: str) -> None:
    """Stores "first" and "second", with every state, outcome, kind of value and attribute."""
    with _opened(url) as storage:
        _make_first(storage)
        study = optuna.create_study(
            storage=storage, study_name="second", directions=["maximize", "minimize"]
        )
        with pytest.warns(match="experimental"):
            study.set_metric_names(["accuracy", "latency"])
        for values in ([0.5, 0.1], [math.inf, -math.inf]):
            trial = study.ask({"x": FloatDistribution(0, 1)})
            study.tell(trial, values)


def _make_first(storage: BaseStorage) -> None:
    study = optuna.create_study(
        storage=storage, study_name="first", direction="maximize", sampler=RandomSampler(seed=0)
    )
    for name, value in asdict(IDENTITY).items():
        study.set_user_attr(name, value)
    study.set_user_attr(StudyAttribute.CLASS_NAMES, ["cat", "dog", "Ünïcode 漢字"])
    study.enqueue_trial({"rate": 0.001}, user_attrs={"asked": "by hand"})
    ends = [
        (TrialState.COMPLETE, Outcome.COMPLETE),
        (TrialState.COMPLETE, Outcome.COMPLETE),
        (TrialState.PRUNED, Outcome.PRUNED),
        (TrialState.PRUNED, Outcome.INFEASIBLE),
        (TrialState.FAIL, Outcome.FAILED),
        (TrialState.FAIL, Outcome.INTERRUPTED),
        (TrialState.FAIL, Outcome.CRASHED),
    ]
    for number, (state, outcome) in enumerate(ends):
        trial = study.ask()
        trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        trial.suggest_int("depth", 1, 4)
        trial.suggest_categorical("kind", ["plain", "residual"])
        trial.suggest_categorical("choice", [True, None, 3, 0.1])
        trial.set_constraint("parameters", number - 5.5)
        for step, value in enumerate([0.1 + 0.2, math.nan, math.inf, -math.inf, 5e-324]):
            trial.report(value, step)
        set_trial_attribute(
            storage, trial._trial_id, TrialAttribute.CANDIDATE, {"large": "x" * 100_000}
        )
        trial.set_user_attr(TrialAttribute.OUTCOME, outcome)
        done = state is TrialState.COMPLETE
        study.tell(trial, number / 3 if done else None, state=state)
    # As Optuna leaves it if a process dies between the record and the file.
    storage.set_trial_system_attr(
        study.ask()._trial_id,
        "artifacts:1234",
        '{"artifact_id": "1234", "filename": "model.keras", "mimetype": "x/y", "encoding": null}',
    )
    study.enqueue_trial({"rate": 0.01})
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=-1e300))


def end_running(url: str, name: str = "first") -> None:
    """Fails the RUNNING trials of a study."""
    with _opened(url) as storage:
        study = optuna.load_study(study_name=name, storage=storage)
        for trial in study.get_trials(states=[TrialState.RUNNING]):
            study.tell(trial.number, state=TrialState.FAIL)


def lease(url: str, holder: dict[str, Any], name: str = "first") -> None:
    """Writes a holder's lease to the RUNNING trials of a study."""
    with _opened(url) as storage:
        study = optuna.load_study(study_name=name, storage=storage)
        for trial in study.get_trials(states=[TrialState.RUNNING]):
            set_trial_attribute(
                storage, trial._trial_id, TrialAttribute.LEASE, {"worker": "w", "beat": 1, **holder}
            )


def this_process(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Returns a lease's holder that is this process, and counts as working on it."""
    monkeypatch.setattr("search.trials.lease._holders", {"w"})
    identity = process_identity(os.getpid())
    return {"host": host_identity(), "process": os.getpid(), "started": identity}


def ended_process() -> dict[str, Any]:
    """Returns a lease's holder whose process has ended."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    identity = process_identity(process.pid)
    process.communicate()
    return {"host": host_identity(), "process": process.pid, "started": identity}


def load(url: str, name: str) -> optuna.Study:
    """Loads a study."""
    with quiet_optuna():
        return optuna.load_study(study_name=name, storage=open_storage(url))


def study_names(url: str) -> list[str]:
    """Returns the names of the studies in a storage."""
    with quiet_optuna():
        return sorted(study.study_name for study in open_storage(url).get_all_studies())


def content(url: str, name: str) -> dict[str, Any]:
    """Returns everything that Optuna exposes of a study, except the database's own IDs."""
    study = load(url, name)
    return {
        "directions": study.directions,
        "metric names": study.metric_names,
        "user attributes": study.user_attrs,
        "system attributes": study._storage.get_study_system_attrs(study._study_id),
        "trials": [_fields(trial) for trial in study.trials],
    }


@contextmanager
def _opened(url: str) -> Iterator[BaseStorage]:
    """Opens a storage for the block; afterwards an SQLite file has no write-ahead log any more."""
    with quiet_optuna():
        storage = open_storage(url)
        yield storage
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def _fields(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values,
        "started": trial.datetime_start,
        "completed": trial.datetime_complete,
        "parameters": list(trial.params.items()),
        "distributions": trial.distributions,
        "user attributes": trial.user_attrs,
        "system attributes": trial.system_attrs,
        "constraints": trial.constraints,
        # NaN is not equal to itself.
        "reported": {step: repr(value) for step, value in trial.intermediate_values.items()},
    }
