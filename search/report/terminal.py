"""A study in a terminal: its state, history, parameters and best trials."""

from collections import Counter
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from search.report import words
from search.report.data import StudyFacts, TrialFacts
from search.trials.outcomes import Outcome

_BARS = "▁▂▃▄▅▆▇█"
_HISTORY_WIDTH = 60
_IMPORTANCE_WIDTH = 20
_MOST_PARAMETERS = 8


def render_study(study: StudyFacts, *, top: int, blocks: bool) -> RenderableType:
    """Returns a study as text and tables; `blocks` allows block elements."""
    parts: list[RenderableType] = [_headline(study)]
    if history := best_so_far(study):
        parts += [Text(), _history(study, history, blocks=blocks)]
    if any(parameter.importance for parameter in study.parameters):
        parts += [Text(), _importance(study, blocks=blocks)]
    if leading := leaderboard(study, top=top):
        parts += [Text(), _leaderboard(study, leading)]
    running = [trial for trial in study.trials if trial.state == "running"]
    if running:
        parts += [Text(), *(_running(study, trial) for trial in running)]
    return Group(*parts)


def study_as_data(study: StudyFacts, *, top: int) -> dict[str, Any]:
    """Returns the content of `render_study` as plain values for JSON; times in seconds."""
    return {
        "study": study.name,
        "description": study.description,
        "metric": study.metric,
        "data": study.data,
        "search_seconds": study.search_seconds,
        "plan": study.plan,
        "trials": dict(Counter(str(trial.state) for trial in study.counted)),
        "best": study.best,
        "history": [{"seconds": seconds, "value": value} for seconds, value in best_so_far(study)],
        "importance": {
            parameter.name: parameter.importance
            for parameter in study.parameters
            if parameter.importance is not None
        },
        "leaderboard": [
            {
                "trial": trial.number,
                "value": trial.value,
                "state": str(trial.state),
                "seconds": trial.seconds,
                "passes": trial.passes,
                "parameters": trial.parameters,
                "images_per_second": trial.images_per_second,
                "network": trial.summary,
                "choices": dict(trial.choices),
            }
            for trial in leaderboard(study, top=top)
        ],
    }


def leaderboard(study: StudyFacts, *, top: int) -> list[TrialFacts]:
    """Returns the best complete trials, best first."""
    complete = [
        trial
        for trial in study.counted
        if trial.state is Outcome.COMPLETE and trial.value is not None
    ]
    complete.sort(key=lambda trial: (trial.value or 0.0, -trial.number), reverse=study.maximize)
    return complete[:top]


def best_so_far(study: StudyFacts) -> list[tuple[float, float]]:
    """Returns (seconds of search, best value) at every improvement."""
    ended = [
        (trial.ended, trial.value)
        for trial in study.counted
        if trial.state is Outcome.COMPLETE and trial.ended is not None and trial.value is not None
    ]
    found: list[tuple[float, float]] = []
    for seconds, value in sorted(ended, key=lambda pair: pair[0]):
        if not found or _is_better(value, found[-1][1], study):
            found.append((seconds, value))
    return found


def _is_better(value: float, than: float, study: StudyFacts) -> bool:
    return value > than if study.maximize else value < than


def _headline(study: StudyFacts) -> Table:
    counts = Counter(str(trial.state) for trial in study.counted)
    rows = [
        ("study", f"{words.safe(study.name)}, by {words.metric_name(study.metric)}"),
        ("data", words.safe(study.data)),
        ("trials", ", ".join(f"{number} {state}" for state, number in counts.items()) or "none"),
        ("time", f"{words.span(study.search_seconds)} of search"),
    ]
    if study.plan is not None:
        rows.append(("plan", study.plan))
    best = study.trial(study.best)
    if best is not None:
        value = words.metric_value(best.value, study.metric)
        rows.append(("best", f"{value} (trial {best.number}): {words.safe(best.summary)}"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(label, Text(text))
    return table


def _history(study: StudyFacts, history: list[tuple[float, float]], *, blocks: bool) -> Text:
    """Returns the best value so far over search time, from left to right."""
    first, last = history[0][1], history[-1][1]
    text = (
        f"best so far: {words.metric_value(first, study.metric)} after "
        f"{words.span(history[0][0])}, {words.metric_value(last, study.metric)} after "
        f"{words.span(history[-1][0])}"
    )
    if not blocks or len(history) < 2:
        return Text(text)
    end = max(study.search_seconds, history[-1][0])
    line = []
    for cell in range(_HISTORY_WIDTH):
        moment = end * (cell + 1) / _HISTORY_WIDTH
        values = [value for seconds, value in history if seconds <= moment]
        if not values:
            line.append(" ")
            continue
        part = abs(values[-1] - first) / abs(last - first)
        line.append(_BARS[round(part * (len(_BARS) - 1))])
    return Text.assemble(("".join(line), "green"), "  ", text)


def _importance(study: StudyFacts, *, blocks: bool) -> Table:
    table = Table(title="importance of parameters", title_justify="left", box=None)
    table.add_column("parameter")
    table.add_column("share", justify="right")
    table.add_column("")
    for parameter in study.parameters[:_MOST_PARAMETERS]:
        if parameter.importance is None:
            continue
        bar = ("█" if blocks else "#") * round(parameter.importance * _IMPORTANCE_WIDTH)
        share = words.percent(parameter.importance, 0)
        table.add_row(words.safe(parameter.name), share, Text(bar, style="green"))
    return table


def _leaderboard(study: StudyFacts, trials: list[TrialFacts]) -> Table:
    table = Table(title="best trials", title_justify="left", box=None)
    for name in ("trial", words.metric_name(study.metric), "time", "parameters", "images/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("network", overflow="fold")
    for trial in trials:
        table.add_row(
            str(trial.number),
            words.metric_value(trial.value, study.metric),
            words.span(trial.seconds),
            words.short(trial.parameters),
            words.short(trial.images_per_second),
            Text(words.safe(trial.summary)),
        )
    return table


def _running(study: StudyFacts, trial: TrialFacts) -> Text:
    value = words.metric_value(trial.value, study.metric)
    so_far = f", {words.metric_name(study.metric)} {value} so far" if trial.curve else ""
    text = f"trial {trial.number} is running: {words.safe(trial.summary)}{so_far}"
    return Text(text, style="bold")
