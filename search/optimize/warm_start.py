"""A study's first trials, published baselines among them."""

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
    """Enqueues the recipes that a study's space can express, once, and notes which, and why not.

    What the study settles for all of its trials (epochs, and any setting of the training that its
    space does not search) is the study's for these, too; the notes say what that changes.
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
    """Enqueues a trial unless the study has one of the same parameters.

    Several processes may do so at once: one of their trials is left, the others end as interrupted,
    which do not count.
    """
    if _first_of(study.get_trials(deepcopy=False), parameters) is not None:
        return
    storage = study._storage
    # Nobody takes a running trial: it waits once it is known to be the first. One whose process
    # died before is found by its missing lease.
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
    # A process that was suspended in between finds that another one has taken over.
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
