"""The course of the search, over time and trial by trial."""

from collections.abc import Sequence

from markupsafe import Markup

from search.report.charts.trial_marks import (
    BOTTOM,
    LEFT,
    MOST_CURVES,
    MOST_DOTS,
    has_ended,
    reaches_one,
    staircase,
    thinned,
    tick_writer,
    time_unit,
    tip_of,
    value_name,
    value_of,
    value_scale,
    writer,
)
from search.report.data import Comparison, StudyFacts
from search.report.statistics import best_so_far
from search.report.svg import HEIGHT, WIDTH, Axis, Drawing, draw_axes, draw_legend, scale_of
from search.report.words import compact, metric_name, metric_value, shortened, span
from search.trials.outcomes import Outcome

_MOST_POINTS = 40
_COMPARED = ("s-winner", "s-test", "s-validation", "s-other", "s-train")


def history(study: StudyFacts) -> Markup | None:
    """Returns every trial's value and the best so far by search time; None without values."""
    valued = [trial for trial in study.counted if value_of(trial) is not None and has_ended(trial)]
    if not valued:
        return None
    steps = best_so_far(study.counted, maximize=study.maximize)
    lost = [trial for trial in study.counted if value_of(trial) is None and has_ended(trial)]
    end = max(trial.ended or 0.0 for trial in (*valued, *lost))
    unit, name = time_unit(end)
    described = f"{len(valued)} trials with a value"
    if steps:
        described += (
            f"; the first complete trial reached {metric_value(steps[0][1], study.metric)}, the "
            f"best {metric_value(steps[-1][1], study.metric)} after {span(steps[-1][0])}"
        )
    drawing = Drawing(
        "history",
        title=f"{value_name(study)} of {len(valued)} trials by search time",
        description=f"{described}.",
    )
    entries = [("s-winner", "best so far"), ("s-trial", "complete"), ("s-pruned", "ended early")]
    if lost:
        entries.append(("s-failed", "without a value"))
    top = draw_legend(drawing, entries) + 24
    x = scale_of([0.0, end / unit], LEFT, WIDTH - 10, low=0.0, padding=0.02)
    y = value_scale(study, [value_of(trial) for trial in valued], HEIGHT - BOTTOM, top)
    draw_axes(
        drawing,
        Axis(x, f"{name} of search", compact),
        Axis(y, value_name(study), writer(study)),
    )
    for trial in thinned(valued, MOST_DOTS, keep=study.best):
        complete = trial.state is Outcome.COMPLETE
        drawing.dot(
            (x((trial.ended or 0.0) / unit), y(value_of(trial) or 0.0)),
            3.5 if complete else 3,
            "s-trial dot" if complete else "s-pruned ring",
            tip=tip_of(trial, study),
        )
    for trial in thinned(lost, MOST_DOTS):
        at = x((trial.ended or 0.0) / unit)
        drawing.line((at, y.start - 8), (at, y.start), "s-failed")
    if steps:
        points = staircase(steps, end, lambda seconds: x(seconds / unit), y)
        drawing.path(points, "s-winner")
    return drawing.render()


def all_curves(study: StudyFacts) -> Markup | None:
    """Returns the learning curves of all trials as thin lines, the winner's as a thick one."""
    found = [trial for trial in study.counted if len(trial.curve) > 1]
    if not found:
        return None
    shown = thinned(found, MOST_CURVES, keep=study.best)
    winner = study.trial(study.best)
    ended = sum(trial.state is not Outcome.COMPLETE for trial in found)
    described = f"{value_name(study)} by passes over the training images. {ended} ended early"
    if winner is not None:
        value = metric_value(winner.value, study.metric)
        described += f"; the winner, trial {winner.number}, ends at {value}"
    drawing = Drawing(
        "curves",
        title=f"Learning curves of {len(found)} trials on the validation images",
        description=f"{described}.",
    )
    entries = [("s-winner", "winner")] if winner is not None and winner.curve else []
    entries += [("s-thin", "complete"), ("s-early", "ended early or running")]
    top = draw_legend(drawing, entries) + 24
    x = scale_of(
        [0.0, *(trial.curve[-1][0] for trial in found)], LEFT, WIDTH - 10, low=0.0, padding=0.0
    )
    values = [value for trial in shown for _, value in trial.curve]
    y = value_scale(study, values, HEIGHT - BOTTOM, top)
    draw_axes(
        drawing,
        Axis(x, "passes over the training images", compact),
        Axis(y, value_name(study), writer(study)),
    )
    order = sorted(shown, key=lambda trial: (trial.number == study.best, trial.state == "complete"))
    for trial in order:
        complete = trial.state is Outcome.COMPLETE
        class_ = "s-thin" if complete else "s-early"
        if trial.number == study.best:
            class_ = "s-winner"
        points = trial.curve[:: max(1, len(trial.curve) // _MOST_POINTS)]
        if points[-1] != trial.curve[-1]:
            points = (*points, trial.curve[-1])
        drawing.path(
            [(x(passes), y(value)) for passes, value in points], class_, tip=tip_of(trial, study)
        )
    return drawing.render()


def compared_histories(rows: Sequence[Comparison], metric: str) -> Markup | None:
    """Returns the best value so far by search time of several studies."""
    found = [row for row in rows if row.best_so_far and row.kind in ("winner", "study")]
    if len(found) < 2:
        return None
    end = max((row.hours or 0.0) * 3600 for row in found)
    end = max(end, *(row.best_so_far[-1][0] for row in found))
    unit, name = time_unit(end)
    described = "; ".join(
        f"{row.name} {metric_value(row.best_so_far[-1][1], metric)} after "
        f"{span(row.best_so_far[-1][0])}"
        for row in found
    )
    drawing = Drawing(
        "compared", title=f"Best {metric_name(metric)} so far", description=f"{described}."
    )
    classes = [_COMPARED[number % len(_COMPARED)] for number in range(len(found))]
    entries = [
        (class_, shortened(row.name, 40)) for class_, row in zip(classes, found, strict=True)
    ]
    top = draw_legend(drawing, entries) + 24
    height = HEIGHT
    x = scale_of([0.0, end / unit], LEFT, WIDTH - 10, low=0.0, padding=0.02)
    values = [value for row in found for _, value in row.best_so_far]
    y = scale_of(values, height - BOTTOM, top, high=1.0 if reaches_one(metric, values) else None)
    write = tick_writer(metric)
    draw_axes(drawing, Axis(x, f"{name} of search", compact), Axis(y, metric_name(metric), write))
    for class_, row in zip(classes, found, strict=True):
        last = (row.hours or 0.0) * 3600
        points = staircase(row.best_so_far, last, lambda seconds: x(seconds / unit), y)
        drawing.path(points, class_)
        drawing.dot(points[-1], 4, f"{class_} dot", tip=row.name)
    return drawing.render()
