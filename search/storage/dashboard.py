"""Notes and plots that optuna-dashboard shows with a study and its trials.

optuna-dashboard keeps all of them in the system attributes of the study. The key of a trial's note
contains the trial's id, which differs between storages. This module writes them itself, because
optuna-dashboard's `save_note` and `save_plotly_graph_object` read all of them again at each save,
and importing it takes as long as importing scikit-learn.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import optuna

# In characters. JSON needs a few times as many bytes, and MySQL accepts at most 65,535 bytes.
_PART = 10_000
# The dashboard adds 1 to the version when a person edits a note, so an edited note's version is not
# a multiple of this step.
_VERSIONS = 1000
_OF_A_TRIAL = re.compile(r"dashboard:(?P<artifacts>artifacts:)?(?P<trial>\d+):")


def save_for_dashboard(
    study: optuna.Study,
    *,
    notes: Mapping[int | None, str],
    plots: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Saves notes and plots for optuna-dashboard.

    Notes are Markdown by trial number, with the study's own note under None. Plots are Plotly
    figures as data (`data` and `layout`) by name. Only changes are written. A note that a person
    edited in the dashboard stays as it is.
    """
    trials = study.get_trials(deepcopy=False)
    stored = study._storage.get_study_system_attrs(study._study_id)
    for number, text in notes.items():
        trial = "" if number is None else f"{trials[number]._trial_id}:"
        version_key = f"dashboard:{trial}note_ver"
        version = int(stored.get(version_key, 0))
        changed = _changed(stored, f"dashboard:{trial}note_str:", text)
        if changed and version % _VERSIONS == 0:
            _write(study, {version_key: version + _VERSIONS, **changed})
    for name, figure in (plots or {}).items():
        _write(study, _changed(stored, f"dashboard:plot_data:{name}:", json.dumps(figure)))


def renumbered(key: str, trials: Mapping[int, int]) -> str:
    """Returns the key of a study's system attribute with its trial id replaced by the new one."""

    def new(found: re.Match[str]) -> str:
        trial = int(found["trial"])
        return f"dashboard:{found['artifacts'] or ''}{trials.get(trial, trial)}:"

    return _OF_A_TRIAL.sub(new, key, count=1) if _OF_A_TRIAL.match(key) else key


def _changed(stored: Mapping[str, Any], prefix: str, text: str) -> dict[str, str]:
    """Returns the attributes to write, so that those with a prefix together hold a text."""
    parts = {
        f"{prefix}{start // _PART}": text[start : start + _PART]
        for start in range(0, len(text), _PART)
    }
    emptied = {key: "" for key in stored if key.startswith(prefix) and key not in parts}
    return {key: part for key, part in {**parts, **emptied}.items() if stored.get(key) != part}


def _write(study: optuna.Study, attributes: Mapping[str, Any]) -> None:
    for key, value in attributes.items():
        study._storage.set_study_system_attr(study._study_id, key, value)
