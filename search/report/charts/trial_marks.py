"""Shared by the charts of a search: scales of the metric and of time, and marks of trials."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from search.report.data import StudyFacts, TrialFacts
from search.report.svg import Drawing, Point, Scale, scale_of
from search.report.words import compact, is_share, metric_name, metric_value, shortened
from search.trials.outcomes import Outcome

LEFT, BOTTOM = 52.0, 44.0
MOST_DOTS = 600
MOST_CURVES = 300
_UNITS = ((3 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (180.0, 60.0, "minutes"))


def trial_dot(drawing: Drawing, study: StudyFacts, trial: TrialFacts, x: float, y: float) -> None:
    """Draws a complete trial, the winner larger."""
    is_best = trial.number == study.best
    class_ = "s-best dot" if is_best else "s-trial dot"
    drawing.dot((x, y), 5.5 if is_best else 3.5, class_, tip=tip_of(trial, study))


def winner_last(trials: Sequence[TrialFacts], study: StudyFacts) -> list[TrialFacts]:
    """Returns the trials with the winner last, so that it is drawn on top."""
    return sorted(trials, key=lambda trial: trial.number == study.best)


def thinned(
    trials: Sequence[TrialFacts], most: int, *, keep: int | None = None
) -> list[TrialFacts]:
    """Returns at most `most` trials, evenly spaced and including `keep`."""
    if len(trials) <= most:
        return list(trials)
    step = len(trials) / most
    chosen = {int(number * step) for number in range(most)}
    return [
        trial for position, trial in enumerate(trials) if position in chosen or trial.number == keep
    ]


def value_of(trial: TrialFacts) -> float | None:
    """Returns a trial's value; None unless it is a finite number."""
    return trial.value if trial.value is not None and math.isfinite(trial.value) else None


def has_ended(trial: TrialFacts) -> bool:
    """Whether the trial's end is recorded."""
    return trial.ended is not None


def is_complete(trial: TrialFacts) -> bool:
    """Whether a trial is complete, with a finite value."""
    return trial.state is Outcome.COMPLETE and value_of(trial) is not None


def tip_of(trial: TrialFacts, study: StudyFacts) -> str:
    """Returns the text shown when the pointer rests on a trial."""
    value = metric_value(trial.value, study.metric)
    return f"trial {trial.number} ({trial.state}): {value}. {shortened(trial.summary, 70)}"


def value_name(study: StudyFacts) -> str:
    """Returns the name of a study's values."""
    return f"validation {metric_name(study.metric)}"


def writer(study: StudyFacts) -> Callable[[float], str]:
    """Returns the function that formats a study's values on an axis."""
    return tick_writer(study.metric)


def tick_writer(metric: str) -> Callable[[float], str]:
    """Returns the function that formats a metric's values on an axis."""
    if is_share(metric):
        return lambda value: f"{value * 100:.4g}%"
    return compact


def reaches_one(metric: str, values: Sequence[float | None]) -> bool:
    """Whether an axis of these values should end at 100%."""
    return is_share(metric) and max((value or 0.0 for value in values), default=0.0) > 0.95


def value_scale(
    study: StudyFacts, values: Sequence[float | None], start: float, end: float
) -> Scale:
    """Returns a scale of the metric on which a few diverged trials do not compress all others."""
    finite = sorted(value for value in values if value is not None and math.isfinite(value))
    if len(finite) > 20 and not study.maximize:
        finite = finite[: max(2, int(len(finite) * 0.97))]
    return scale_of(finite, start, end, high=1.0 if reaches_one(study.metric, finite) else None)


def time_unit(seconds: float) -> tuple[float, str]:
    """Returns the length in seconds and the name of a suitable unit for a duration."""
    return next(
        ((unit, name) for least, unit, name in _UNITS if seconds >= least), (1.0, "seconds")
    )


def staircase(
    steps: Sequence[Point], end: float, x: Callable[[float], float], y: Callable[[float], float]
) -> list[Point]:
    """Returns the pixels of a line that steps at each (seconds, value) and continues to an end."""
    points = [(x(steps[0][0]), y(steps[0][1]))]
    for (_, before), (seconds, value) in pairwise(steps):
        points += [(x(seconds), y(before)), (x(seconds), y(value))]
    return [*points, (x(max(end, steps[-1][0])), y(steps[-1][1]))]
