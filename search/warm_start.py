"""Published baselines as a study's first trials."""

import json
from typing import Any

import optuna

from search.progress import Progress
from search.storage import TrialAttribute
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
        same = json.dumps(expression.parameters, sort_keys=True)
        if same in enqueued:
            progress.note(f"first trial: {recipe.name}, the same as {enqueued[same]} here")
            continue
        enqueued[same] = recipe.name
        settled = _shorten(expression.settled)
        progress.note(f"first trial: {recipe.name}" + (f", but {settled}" if settled else ""))
        attributes: dict[str, Any] = {TrialAttribute.RECIPE: recipe.name}
        study.enqueue_trial(expression.parameters, user_attrs=attributes, skip_if_exists=True)
    progress.note(f"{len(enqueued)} of {len(RECIPES)} recipes are among the first trials")


def _shorten(differences: tuple[str, ...]) -> str:
    shown = "; ".join(differences[:_MOST_DIFFERENCES])
    more = len(differences) - _MOST_DIFFERENCES
    return f"{shown}; and {more} more" if more > 0 else shown
