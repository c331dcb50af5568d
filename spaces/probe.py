"""Inspects a space without a study: its parameters, its extremes, its fingerprint."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from cnn_blocks.errors import InfeasibleError
from spaces.candidate import Candidate
from spaces.suggest import Trial

Space: TypeAlias = Callable[[Trial], Candidate]
Strategy: TypeAlias = Literal["random", "lowest", "highest"]


class ProbeTrial:
    """A trial that suggests values by a strategy and records parameters and distributions.

    "lowest" and "highest" take the ends of numeric ranges. Categories have no order, so they are
    always drawn at random. A parameter in `wanted` gets that value if its distribution contains it.
    """

    def __init__(
        self,
        strategy: Strategy = "random",
        *,
        seed: int = 0,
        wanted: Mapping[str, Any] | None = None,
    ) -> None:
        self.distributions: dict[str, BaseDistribution] = {}
        self.params: dict[str, Any] = {}
        self._strategy = strategy
        self._wanted = wanted or {}
        self._random = np.random.default_rng(
            [seed, ("random", "lowest", "highest").index(strategy)]
        )

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggests an integer."""
        distribution = IntDistribution(low, high, log=log, step=step)
        drawn = int(self._random.integers((high - low) // step + 1)) * step + low
        return int(self._answer(name, distribution, drawn))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggests a float."""
        distribution = FloatDistribution(low, high, log=log, step=step)
        share = float(self._random.random())
        if log:
            drawn = float(low * (high / low) ** share)
        elif step is not None:
            drawn = low + round(share * (high - low) / step) * step
        else:
            drawn = low + share * (high - low)
        return float(self._answer(name, distribution, min(drawn, high)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggests one of the choices."""
        distribution = CategoricalDistribution(choices)
        return self._answer(name, distribution, choices[int(self._random.integers(len(choices)))])

    def _answer(self, name: str, distribution: BaseDistribution, drawn: Any) -> Any:
        known = self.distributions.setdefault(name, distribution)
        if name in self.params and known == distribution:
            return self.params[name]
        if isinstance(distribution, IntDistribution | FloatDistribution):
            ends = {"lowest": distribution.low, "highest": distribution.high}
            drawn = ends.get(self._strategy, drawn)
        if name in self._wanted and is_legal(distribution, self._wanted[name]):
            drawn = self._wanted[name]
        self.params[name] = drawn
        return drawn


def is_space(found: object) -> bool:
    """Whether an object is a space: a function of a trial whose other arguments are optional."""
    if not inspect.isfunction(found):
        return False
    names = list(inspect.signature(found).parameters)
    options = list(inspect.signature(found).parameters.values())[1:]
    return names[:1] == ["trial"] and all(
        option.kind is option.KEYWORD_ONLY and option.default is not option.empty
        for option in options
    )


def is_legal(distribution: BaseDistribution, value: Any) -> bool:
    """Returns whether a distribution contains a value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:  # not one of the choices, or not a number
        return False


def explore(space: Space, *, draws: int = 24) -> list[tuple[ProbeTrial, Candidate]]:
    """Returns candidates from the whole space: `draws` for each strategy, the same every time.

    Candidates that the space itself rejects are left out. Raises InfeasibleError if it rejects all.
    """
    strategies: tuple[Strategy, ...] = ("random", "lowest", "highest")
    probes = [ProbeTrial(strategy, seed=seed) for strategy in strategies for seed in range(draws)]
    found: list[tuple[ProbeTrial, Candidate]] = []
    problem: InfeasibleError | None = None
    for probe in probes:
        try:
            found.append((probe, space(probe)))
        except InfeasibleError as error:
            problem = error
    if problem is not None and not found:
        raise problem
    return found


def parameters(space: Space, *, draws: int = 24) -> dict[str, BaseDistribution]:
    """Returns the parameters that a space suggests, including conditional ones, in its order."""
    found: dict[str, BaseDistribution] = {}
    for probe, _ in explore(space, draws=draws):
        found |= {name: known for name, known in probe.distributions.items() if name not in found}
    return found


def space_fingerprint(space: Space, *, draws: int = 24) -> str:
    """Returns the SHA-256 of a space's behaviour: its parameters and the resulting candidates.

    A changed range or fixed value changes it; a comment or a renamed variable does not. Fields at
    their defaults are left out, so that a later version may add fields and still resume stored
    studies.
    """
    behaviour = [
        [
            {name: distribution_to_json(known) for name, known in probe.distributions.items()},
            candidate.model_dump(mode="json", exclude_defaults=True),
        ]
        for probe, candidate in explore(space, draws=draws)
    ]
    return hashlib.sha256(json.dumps(behaviour, sort_keys=True).encode()).hexdigest()


def describe_distribution(distribution: BaseDistribution) -> str:
    """Returns a parameter's range in words."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    text = f"{distribution.low:g} to {distribution.high:g}"
    if distribution.log:
        text += ", logarithmic"
    if distribution.step not in (None, 1):
        text += f", in steps of {distribution.step:g}"
    return text
