"""Plots of a study that the dashboard does not have, as Plotly figures without Plotly."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from optuna.trial import FrozenTrial

from search.storage import TrialAttribute

# Of the best trials. All are stored again at the end of each search, and more look alike.
_MOST_POINTS = 1000


def plots_of(
    best: Sequence[FrozenTrial], finished: Sequence[FrozenTrial], metric: str
) -> dict[str, dict[str, Any]]:
    """Returns figures by name: the value by network size, and by the time that was searched.

    `best` are the complete trials, the best one first; `finished` are all that have ended.
    """
    minutes = _search_minutes(finished)
    ranked = {trial.number: rank for rank, trial in enumerate(best)}
    improving: list[FrozenTrial] = []
    for trial in sorted(best, key=lambda trial: minutes[trial.number]):
        if not improving or ranked[trial.number] < ranked[improving[-1].number]:
            improving.append(trial)
    shown = best[:_MOST_POINTS]
    size = {trial.number: trial.user_attrs.get(TrialAttribute.PARAMETERS) for trial in shown}
    by_size = _figure(f"{metric} by network size", "parameters", metric, _points(shown, size))
    by_size["layout"]["xaxis"]["type"] = "log"
    steps = {
        **_points(improving, minutes),
        "name": "best so far",
        "mode": "lines",
        "line": {"shape": "hv"},
    }
    by_time = _figure(
        f"{metric} by search time", "minutes of search", metric, _points(shown, minutes), steps
    )
    return {"value_by_network_size": by_size, "value_by_search_time": by_time}


def _search_minutes(finished: Sequence[FrozenTrial]) -> dict[int, float]:
    """Returns how long the study had been searched when each trial ended, pauses not counted."""
    events = sorted(
        (time, change, trial.number)
        for trial in finished
        for time, change in ((trial.datetime_start, 1), (trial.datetime_complete, -1))
        if time is not None
    )
    minutes = dict.fromkeys((trial.number for trial in finished), 0.0)
    passed, running = 0.0, 0
    for (earlier, change, _), (time, _, number) in pairwise(events):
        running += change
        passed += (time - earlier).total_seconds() if running > 0 else 0.0
        minutes[number] = round(passed / 60, 3)
    return minutes


def _points(trials: Sequence[FrozenTrial], x: dict[int, Any]) -> dict[str, Any]:
    placed = [trial for trial in trials if x[trial.number] is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "trials",
        "x": [x[trial.number] for trial in placed],
        "y": [trial.value for trial in placed],
        "text": [f"trial {trial.number}" for trial in placed],
    }


def _figure(title: str, x: str, y: str, *data: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": list(data),
        "layout": {
            "title": {"text": title},
            "xaxis": {"title": {"text": x}},
            "yaxis": {"title": {"text": y}},
        },
    }
