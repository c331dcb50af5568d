"""Varies the best candidate so far, after a study's first trials and before its own sampler."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search.optimize.delegating import DelegatingSampler
from search.optimize.winner import best_trial
from search.training.mirroring import flip_parameters, flips_are_harmless
from spaces.probe import is_legal


class VariationSampler(DelegatingSampler):
    """Suggests the best candidate so far with one known-good change per trial.

    A search with few trials learns more from neighbours of a good candidate than from random draws.
    Once all `variations` have had a trial, `sampler` takes over. Until a trial is complete the
    changes apply to `default`. If a change leads to a candidate that has been tried, `sampler`
    suggests one instead. If the space has a parameter for flips, its value is what the first trials
    found (`search.training.mirroring`).
    """

    def __init__(
        self,
        sampler: BaseSampler,
        *,
        default: Mapping[str, Any],
        variations: Sequence[Mapping[str, Any]],
    ) -> None:
        super().__init__(sampler)
        self._default = default
        self._variations = variations
        self._fixed: Mapping[str, Any] | None = None
        self._flip: bool | None = None
        self._flip_parameters: list[str] = []

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._flip = flips_are_harmless(study)
        if self._flip is not None:
            self._flip_parameters = self._flip_parameters or flip_parameters(study)
        earlier = study.get_trials(deepcopy=False)[: trial.number]
        number = _suggested(earlier)
        self._fixed = None
        if number < len(self._variations):
            best = best_trial(study)
            known = self._default if best is None else best.params
            # What the search found out about flips overrides a variation of them.
            fixed = {**known, **self._variations[number], **self._flipped()}
            if not _has_been_tried(fixed, earlier):
                self._fixed = fixed
        super().before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if self._fixed is not None:
            return {}
        space = super().infer_relative_search_space(study, trial)
        return {name: found for name, found in space.items() if name not in self._flipped()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._fixed is not None:
            return {}
        return super().sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        fixed = self._flipped() if self._fixed is None else self._fixed
        if param_name in fixed and is_legal(param_distribution, fixed[param_name]):
            return fixed[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)

    def _flipped(self) -> dict[str, bool]:
        return {} if self._flip is None else dict.fromkeys(self._flip_parameters, self._flip)


def _suggested(earlier: Sequence[FrozenTrial]) -> int:
    """Returns how many earlier trials a sampler suggested; the others were enqueued.

    Only trials with lower numbers count, so workers that ask at the same time vary differently.
    """
    return sum("fixed_params" not in other.system_attrs for other in earlier)


def _has_been_tried(fixed: Mapping[str, Any], earlier: Sequence[FrozenTrial]) -> bool:
    """Returns whether a finished trial had the values in `fixed` for all its parameters.

    Equal values lead a space to the same parameters, so values in `fixed` that the trial did not
    ask for make no difference.
    """
    return any(
        other.state.is_finished()
        and other.params
        and all(name in fixed and fixed[name] == value for name, value in other.params.items())
        for other in earlier
    )
