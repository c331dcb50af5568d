"""Notes that optuna-dashboard shows with a study and its trials.

It keeps all of them in the system attributes of the study, those of a trial under the trial's id,
which other storages count differently. Its own `save_note` reads all of them again at each save,
and importing it takes as long as importing scikit-learn.
"""

import re
from collections.abc import Mapping

import optuna

# The dashboard shortens nothing, but splits what it stores.
_PART = 2045
# The dashboard adds one to a version when a person edits a note: then it is no multiple any more.
_VERSIONS = 1000
_OF_A_TRIAL = re.compile(r"dashboard:(?P<artifacts>artifacts:)?(?P<trial>\d+):")


def save_notes(study: optuna.Study, notes: Mapping[int | None, str]) -> None:
    """Saves notes in Markdown by trial number, that of the study under None.

    Only what has changed is written. A note that a person edited in the dashboard stays as it is.
    """
    storage, trials = study._storage, study.get_trials(deepcopy=False)
    stored = storage.get_study_system_attrs(study._study_id)
    for number, text in notes.items():
        trial = "" if number is None else f"{trials[number]._trial_id}:"
        version_key, prefix = f"dashboard:{trial}note_ver", f"dashboard:{trial}note_str:"
        version = int(stored.get(version_key, 0))
        parts = {
            f"{prefix}{start // _PART}": text[start : start + _PART]
            for start in range(0, len(text), _PART)
        }
        emptied = {key: "" for key in stored if key.startswith(prefix) and key not in parts}
        changed = {
            key: part for key, part in {**parts, **emptied}.items() if stored.get(key) != part
        }
        if changed and version % _VERSIONS == 0:
            storage.set_study_system_attr(study._study_id, version_key, version + _VERSIONS)
            for key, part in changed.items():
                storage.set_study_system_attr(study._study_id, key, part)


def renumbered(key: str, trials: Mapping[int, int]) -> str:
    """Returns the key of a study's system attribute where its trials have other ids."""

    def new(found: re.Match[str]) -> str:
        trial = int(found["trial"])
        return f"dashboard:{found['artifacts'] or ''}{trials.get(trial, trial)}:"

    return _OF_A_TRIAL.sub(new, key, count=1) if _OF_A_TRIAL.match(key) else key
