"""Samplers whose draws depend only on the study's seed and the trial's number."""

from collections.abc import Iterator

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.trial import FrozenTrial

from search.optimize.delegating import DelegatingSampler
from search.optimize.variations import VariationSampler
from spaces.task import Task
from studies.study import StudySpec


def make_sampler(spec: StudySpec, task: Task, *, seed: int) -> BaseSampler:
    """Returns a study's sampler, which first tries the study's variations of the best candidate."""
    first = spec.first_trials(task)
    sampler = VariationSampler(
        spec.sampler(seed),
        default=first[0] if first else {},
        variations=spec.later_trials(task),
    )
    return ReseedingSampler(sampler, seed=seed)


class ReseedingSampler(DelegatingSampler):
    """Reseeds a sampler before every trial from (study seed, trial number).

    Workers that share a seed then draw different candidates, and a trial's draw does not depend on
    how many processes have run the study. Optuna's samplers keep their random state in
    `LazyRandomState`; a sampler with another random state is not reseeded.
    """

    def __init__(self, sampler: BaseSampler, *, seed: int) -> None:
        super().__init__(sampler)
        self.seed = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        sequence = np.random.SeedSequence((self.seed, trial.number))
        states = list(_random_states(self.sampler))
        for state, word in zip(states, sequence.generate_state(len(states)), strict=True):
            state.rng.seed(int(word))
        super().before_trial(study, trial)


def _random_states(sampler: BaseSampler) -> Iterator[LazyRandomState]:
    for value in vars(sampler).values():
        if isinstance(value, LazyRandomState):
            yield value
        elif isinstance(value, BaseSampler):
            yield from _random_states(value)
