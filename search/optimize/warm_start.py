"""Enqueues a study's first trials, including published baselines."""

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.progress.events import Progress
from search.storage import TrialAttribute
from search.trials.attempts import end
from search.trials.outcomes import Outcome
from spaces.express import Expressing
from spaces.recipes import RECIPES
from studies.study import StudySpec

_MOST_DIFFERENCES = 3


def enqueue_recipes(study: optuna.Study, spec: StudySpec, progress: Progress) -> None:
    """Enqueues each recipe that the study's space can express once; notes which, and why not.

    Settings that the study fixes for all trials (epochs, and training settings that its space does
    not search) apply to recipes too; the notes say what that changes.
    """
    expressing = Expressing(spec.space)
    enqueued: dict[str, str] = {}
    for recipe in RECIPES.values():
        expression = expressing.express(recipe.candidate)
        if expression.differences:
            progress.note(f"no first trial: {recipe.name}: {_shorten(expression.differences)}")
            continue
        same = _written(expression.parameters)
        if same in enqueued:
            progress.note(f"first trial: {recipe.name}, the same as {enqueued[same]} here")
            continue
        enqueued[same] = recipe.name
        settled = _shorten(expression.settled)
        progress.note(f"first trial: {recipe.name}" + (f", but {settled}" if settled else ""))
        enqueue_once(study, expression.parameters, {TrialAttribute.RECIPE: recipe.name})
    progress.note(f"{len(enqueued)} of {len(RECIPES)} recipes are among the first trials")


def enqueue_once(
    study: optuna.Study, parameters: Mapping[str, Any], attributes: Mapping[str, Any] | None = None
) -> None:
    """Enqueues a trial unless the study has one with the same parameters.

    Several processes may do so at once: one of their trials remains, the others end as interrupted
    and do not count.
    """
    if _first_of(study.get_trials(deepcopy=False), parameters) is not None:
        return
    storage = study._storage
    # Create it as RUNNING, because no process takes a running trial, and set it to WAITING once it
    # is known to be the first. If the process dies before that, the missing lease reveals it.
    template = create_trial(
        state=TrialState.RUNNING,
        system_attrs={"fixed_params": dict(parameters)},
        user_attrs=dict(attributes or {}),
    )
    trial = storage.get_trial(storage.create_new_trial(study._study_id, template))
    first = _first_of(study.get_trials(deepcopy=False)[: trial.number], parameters)
    if first is not None:
        end(study, trial, Outcome.INTERRUPTED, f"trial {first} has the same parameters")
        return
    # If this process was suspended in between, another one may have taken the trial over.
    with contextlib.suppress(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def _first_of(trials: Iterable[FrozenTrial], parameters: Mapping[str, Any]) -> int | None:
    wanted = _written(parameters)
    for trial in trials:
        known = trial.system_attrs.get("fixed_params", trial.params)
        if known.keys() == parameters.keys() and _written(known) == wanted:
            return trial.number
    return None


def _written(parameters: Mapping[str, Any]) -> str:
    return json.dumps(dict(parameters), sort_keys=True)


def _shorten(differences: tuple[str, ...]) -> str:
    shown = "; ".join(differences[:_MOST_DIFFERENCES])
    more = len(differences) - _MOST_DIFFERENCES
    return f"{shown}; and {more} more" if more > 0 else shown
