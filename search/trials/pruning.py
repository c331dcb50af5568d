"""Pruning that compares each candidate once, no matter how many attempts it took."""

import copy
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from search.trials.outcomes import counts


def should_prune(trial: optuna.Trial) -> bool:
    """Like `Trial.should_prune`, but the pruner does not see trials that were continued.

    A continuation repeats the reports of the attempts before it. Successive halving compares trials
    of every state and would compare the candidate with its own earlier attempts.
    """
    study = copy.copy(trial.study)
    # Hyperband builds its own study around the storage.
    study._storage = cast("BaseStorage", _CountedTrials(study._storage))
    return study.pruner.prune(study, trial._get_latest_trial())


class _CountedTrials:
    """A storage whose list of all trials leaves out those that were continued."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def get_all_trials(self, *arguments: Any, **options: Any) -> list[FrozenTrial]:
        """Returns a study's trials in the order of their numbers, which then have gaps."""
        return [t for t in self._storage.get_all_trials(*arguments, **options) if counts(t)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)
