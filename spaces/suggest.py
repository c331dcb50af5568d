"""Suggests a component's fields from the distributions in their annotations."""

from typing import Any, Protocol, TypeVar

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from cnn_blocks.config import Configuration
from cnn_blocks.errors import UserError

_Configuration = TypeVar("_Configuration", bound=Configuration)


class Trial(Protocol):
    """The part of `optuna.Trial` that a space uses; `optuna.trial.FixedTrial` has it too."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggests an integer."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggests a float."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Suggests one of the choices."""


class Prefixed:
    """A trial that prefixes parameter names, so that two spaces can share a study."""

    def __init__(self, trial: Trial, prefix: str) -> None:
        self._trial = trial
        self._prefix = prefix

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggests an integer."""
        return self._trial.suggest_int(self._prefix + name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggests a float."""
        return self._trial.suggest_float(self._prefix + name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Suggests one of the choices."""
        return self._trial.suggest_categorical(self._prefix + name, choices)


def suggest(
    trial: Trial, component: type[_Configuration], *, prefix: str = "", **fixed: Any
) -> _Configuration:
    """Suggests a component's searchable fields and returns the component.

    A field is searchable if its annotation contains an Optuna distribution. `fixed` sets a field to
    a value, or to another distribution to search instead; all other fields keep their defaults.
    Parameters are named `prefix` + field.
    Raises UserError for a name in `fixed` that is not a field.
    """
    fields = component.model_fields
    for name in fixed:
        if name not in fields:
            raise UserError(
                f"A fixed value must name a field of {component.__name__} "
                f"({', '.join(fields)}); received {name!r}."
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        found = [item for item in field.metadata if isinstance(item, BaseDistribution)]
        value = fixed[name] if name in fixed else found[0] if found else None
        if isinstance(value, BaseDistribution):
            values[name] = suggest_from(trial, prefix + name, value)
        elif name in fixed:
            values[name] = value
    return component(**values)


def suggest_from(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Suggests one parameter from an Optuna distribution."""
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name,
            distribution.low,
            distribution.high,
            step=distribution.step,
            log=distribution.log,
        )
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name,
            distribution.low,
            distribution.high,
            step=distribution.step,
            log=distribution.log,
        )
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)
