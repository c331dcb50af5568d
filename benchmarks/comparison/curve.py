"""The best validation accuracy over time, read from a study's SQLite database."""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

Curve = list[tuple[float, float]]

# SQL instead of Optuna, because polling during a measurement must cost almost nothing.
_REPORTS = """
    SELECT trial_id, step, intermediate_value FROM trial_intermediate_values
    WHERE intermediate_value_type = 'FINITE'
"""
_VALUES = """
    SELECT trial_id, value FROM trial_values WHERE objective = 0 AND value_type = 'FINITE'
"""
_ENDS = "SELECT trial_id, datetime_complete FROM trials WHERE datetime_complete IS NOT NULL"


class StudyWatch:
    """Records when each report of a running search appears; Optuna stores no time with it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._seen: dict[tuple[int, int], float] = {}

    def look(self) -> None:
        """Records new reports; does nothing while there is no database."""
        try:
            reports = list(_select(self._database, _REPORTS))
        except sqlite3.Error:
            return  # not created yet, or locked; the next look retries
        now = time.time()
        for trial, step, _ in reports:
            self._seen.setdefault((trial, step), now)

    def curve(self, began: float) -> Curve:
        """Returns the improvements as (seconds since `began`, best value so far).

        A report gets the time at which it was seen. An unseen report, and the value of a trial
        without reports, get the time at which the trial ended.
        """
        ends = {
            trial: datetime.fromisoformat(ended).timestamp()
            for trial, ended in _select(self._database, _ENDS)
        }
        points, reporting = [], set()
        for trial, step, value in _select(self._database, _REPORTS):
            reporting.add(trial)
            moment = self._seen.get((trial, step), ends.get(trial))
            if moment is not None:
                # If the trial ended between two looks, its end is closer than the look.
                points.append((min(moment, ends.get(trial, moment)) - began, value))
        for trial, value in _select(self._database, _VALUES):
            if trial not in reporting and trial in ends:
                points.append((ends[trial] - began, value))
        return improvements(points)


def improvements(points: Iterable[tuple[float, float]]) -> Curve:
    """Returns the points that are better than all earlier ones, sorted by time."""
    best: Curve = []
    for seconds, value in sorted(points):
        if not best or value > best[-1][1]:
            best.append((round(seconds, 1), round(value, 4)))
    return best


def value_at(curve: Curve, seconds: float) -> float | None:
    """Returns the best value up to a time; None before the first value."""
    return max((value for moment, value in curve if moment <= seconds), default=None)


def _select(database: Path, query: str) -> Iterator[Any]:
    address = f"{database.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=0.1)) as reader:
        yield from reader.execute(query)
