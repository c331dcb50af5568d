"""Pruning that compares each candidate once, however many attempts it took."""

import copy
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from search.trials.outcomes import counts


def should_prune(trial: optuna.Trial) -> bool:
    """Does what `Trial.should_prune` does, for a pruner that sees no trial that does not count.

    A continuation has all that the trials before it reported; successive halving compares the
    trials of every state, and would compare a candidate with itself as often as it was continued.
    """
    study = copy.copy(trial.study)
    # Hyperband makes a study of its own around the storage.
    study._storage = cast("BaseStorage", _CountedTrials(study._storage))
    return study.pruner.prune(study, trial._get_latest_trial())


class _CountedTrials:
    """A storage that leaves out the trials that do not count where it lists all."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def get_all_trials(self, *arguments: Any, **options: Any) -> list[FrozenTrial]:
        """Returns a study's trials by number, which are fewer than the last number says."""
        return [t for t in self._storage.get_all_trials(*arguments, **options) if counts(t)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)
