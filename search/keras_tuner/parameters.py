"""Adapters in both directions between `trial.suggest_*` and `keras_tuner.HyperParameters`."""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters

from cnn_blocks.errors import UserError
from spaces.suggest import Trial


class HyperParametersTrial:
    """A trial that suggests values from Keras Tuner's hyperparameters."""

    def __init__(self, hp: keras_tuner.HyperParameters) -> None:
        self._hp = hp

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggests an integer."""
        # With logarithmic sampling, Keras Tuner multiplies by the step.
        value = self._hp.Int(
            name, low, high, step=None if log else step, sampling="log" if log else "linear"
        )
        return int(_within(name, value, low, high))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggests a float."""
        if step is None:
            value = self._hp.Float(name, low, high, sampling="log" if log else "linear")
        else:
            # `Float` divides with rounding errors and loses the upper end, as in 0.0 to 0.6 by 0.1.
            value = self._hp.Choice(name, _grid(low, high, step), ordered=True)
        return float(_within(name, value, low, high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggests one of the choices."""
        if set(map(type, choices)) == {bool}:
            # `Choice` would return integers.
            return self._hp.Boolean(name) if len(set(choices)) > 1 else choices[0]
        if len(set(map(type, choices))) == 1 and isinstance(choices[0], str | int | float):
            value = self._hp.Choice(name, list(choices))
            if value not in choices:
                raise _changed(name, value, choices)
            return value
        # `Choice` needs values of one type and does not accept None.
        texts = [json.dumps(choice) for choice in choices]
        text = self._hp.Choice(name, texts)
        if text not in texts:
            raise _changed(name, text, choices)
        return choices[texts.index(text)]


class SuggestedHyperParameters(keras_tuner.HyperParameters):  # type: ignore[misc]
    """Calls `suggest` for each active hyperparameter when a HyperModel first uses it.

    Inactive hyperparameters are not suggested, so a study contains only those in use. `suggest`
    gets Keras Tuner's description of the hyperparameter and returns its value.
    """

    def __init__(self, suggest: Callable[[Any], Any]) -> None:
        super().__init__()
        self._suggest = suggest

    def _register(self, hyperparameter: Any, overwrite: bool = False) -> Any:
        name = hyperparameter.name
        if name not in self.values and self.is_active(hyperparameter):
            self.values[name] = self._suggest(hyperparameter)
        return super()._register(hyperparameter, overwrite)


def suggest_value(trial: Trial, hyperparameter: Any) -> Any:
    """Suggests the value of a Keras Tuner hyperparameter, with its range and sampling.

    The name of a conditional parameter includes its condition: Keras Tuner distinguishes
    hyperparameters of the same name by their conditions, but a study only by their names.
    """
    name = " if ".join([hyperparameter.name, *map(_condition, hyperparameter.conditions)])
    if isinstance(hyperparameter, hyperparameters.Fixed):
        return hyperparameter.value
    if isinstance(hyperparameter, hyperparameters.Boolean):
        return trial.suggest_categorical(name, [False, True])
    if isinstance(hyperparameter, hyperparameters.Choice):
        return trial.suggest_categorical(name, list(hyperparameter.values))
    return _suggest_number(trial, name, hyperparameter)


def _suggest_number(trial: Trial, name: str, number: Any) -> Any:
    whole = isinstance(number, hyperparameters.Int)
    low, high = number.min_value, number.max_value
    logarithmic = number.sampling != "linear"
    if logarithmic and number.step is not None:
        # Here Keras Tuner multiplies by the step, which gives few values; search their positions.
        values = list(number.values)
        value = values[trial.suggest_int(f"{name} (position)", 0, len(values) - 1)]
        return int(value) if whole else float(value)
    if number.sampling == "reverse_log":
        # Dense at the upper end: the distance from the maximum is logarithmic.
        name = f"{name} (mirrored)"
    suggested: Any
    if logarithmic:
        suggest: Any = trial.suggest_int if whole else trial.suggest_float
        suggested = suggest(name, low, high, log=True)
    elif whole:
        step = number.step or 1
        suggested = trial.suggest_int(name, low, _last(low, high, step), step=step)
    elif number.step is None:
        suggested = trial.suggest_float(name, low, high)
    else:
        last = _last(low, high, number.step)
        suggested = trial.suggest_float(name, low, last, step=number.step)
    return low + high - suggested if number.sampling == "reverse_log" else suggested


def _condition(condition: Any) -> str:
    return f"{condition.name}={'|'.join(map(str, condition.values))}"


def _last(low: Any, high: Any, step: Any) -> Any:
    """Returns the last value reached in whole steps from `low`, in decimal arithmetic."""
    first, distance = Decimal(str(low)), Decimal(str(step))
    last = first + (Decimal(str(high)) - first) // distance * distance
    return type(low)(last)


def _grid(low: float, high: float, step: float) -> list[float]:
    first, distance = Decimal(str(low)), Decimal(str(step))
    count = int((Decimal(str(high)) - first) // distance) + 1
    return [float(first + index * distance) for index in range(count)]


def _within(name: str, value: Any, low: float, high: float) -> Any:
    if not low <= value <= high:
        raise _changed(name, value, [low, "...", high])
    return value


def _changed(name: str, value: Any, allowed: Sequence[Any]) -> UserError:
    return UserError(
        f"A parameter must keep its range in a space for Keras Tuner, which samples each name "
        f"once; {name!r} has the value {value!r}, which is not in "
        f"{', '.join(map(str, allowed))}. Fix: give the other range another name."
    )
