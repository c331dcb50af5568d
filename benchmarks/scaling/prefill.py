"""Writes studies of thousands of trials in seconds, directly into the database's tables.

Optuna's own `add_trials` uses one transaction per trial.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, create_engine, func, insert, select, text

from benchmarks.scaling.trial import REPORTS, candidate_attributes, result_attributes
from search.storage import open_storage, quiet_optuna
from search.storage.attributes import set_trial_attribute
from studies.shipped.depth_filters import study as spec

_TRIALS_AT_ONCE = 1_000


def draw_trials(count: int) -> list[FrozenTrial]:
    """Returns finished trials with random networks: half complete, half pruned."""
    with quiet_optuna():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(count):
            trial = study.ask()
            candidate = spec.candidate(trial)
            for name, value in {**candidate_attributes(candidate), **result_attributes()}.items():
                set_trial_attribute(trial.storage, trial._trial_id, name, value)
            # As with successive halving: every trial has a first rung, every other one a second.
            steps = REPORTS if trial.number % 2 else REPORTS // 2
            for step in range(1, steps + 1):
                trial.report((trial.number * 37 % 101 + step) / 110, step)
            for rung in range(1 + trial.number % 2):
                trial.storage.set_trial_system_attr(
                    trial._trial_id, f"completed_rung_{rung}", trial.number * 37 % 101 / 110
                )
            if trial.number % 2:
                study.tell(trial, (trial.number * 37 % 101 + REPORTS) / 110)
            else:
                study.tell(trial, state=TrialState.PRUNED)
    return study.trials


def prefill(database: str, study_name: str, trials: list[FrozenTrial], count: int) -> None:
    """Creates a study with `count` trials, which repeat `trials`."""
    with quiet_optuna():
        optuna.create_study(
            study_name=study_name, storage=open_storage(database), direction="maximize"
        )
    engine = create_engine(database)
    with engine.begin() as connection:
        study_id = connection.scalar(
            select(models.StudyModel.study_id).where(models.StudyModel.study_name == study_name)
        )
        first = 1 + (connection.scalar(select(func.max(models.TrialModel.trial_id))) or 0)
        numbered = zip(range(count), itertools.cycle(trials))
        while chunk := list(itertools.islice(numbered, _TRIALS_AT_ONCE)):
            _insert(connection, study_id, first, chunk)
        if engine.dialect.name == "postgresql":
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence('trials', 'trial_id'), :last)"),
                {"last": first + count - 1},
            )
            # The server does this by itself while a real study grows over days.
            connection.execute(text("ANALYZE"))
    engine.dispose()


def _insert(
    connection: Connection, study_id: Any, first: int, chunk: list[tuple[int, FrozenTrial]]
) -> None:
    began = datetime(2026, 1, 1)
    rows: dict[Any, Iterable[dict[str, Any]]] = {
        models.TrialModel: (
            {
                "trial_id": first + number,
                "number": number,
                "study_id": study_id,
                "state": trial.state,
                "datetime_start": began + timedelta(minutes=number),
                "datetime_complete": began + timedelta(minutes=number + 1),
            }
            for number, trial in chunk
        ),
        models.TrialParamModel: _of_each(first, chunk, _parameters),
        models.TrialUserAttributeModel: _of_each(first, chunk, lambda t: _attributes(t.user_attrs)),
        models.TrialSystemAttributeModel: _of_each(
            first, chunk, lambda t: _attributes(t.system_attrs)
        ),
        models.TrialValueModel: _of_each(first, chunk, _values),
        models.TrialIntermediateValueModel: _of_each(first, chunk, _intermediate_values),
    }
    for model, of_model in rows.items():
        connection.execute(insert(model.__table__), list(of_model))


def _of_each(first: int, chunk: list[tuple[int, FrozenTrial]], rows: Any) -> Iterator[Any]:
    return ({"trial_id": first + number, **row} for number, trial in chunk for row in rows(trial))


def _parameters(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, distribution in trial.distributions.items():
        yield {
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }


def _attributes(attributes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in attributes.items():
        yield {"key": key, "value_json": json.dumps(value)}


def _values(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for objective, value in enumerate(trial.values or []):
        yield {
            "objective": objective,
            "value": value,
            "value_type": models.TrialValueModel.TrialValueType.FINITE,
        }


def _intermediate_values(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    for step, value in trial.intermediate_values.items():
        yield {"step": step, "intermediate_value": value, "intermediate_value_type": finite}
