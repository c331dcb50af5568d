"""What the trials chose, and the values that they reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from search.report.charts.trial_marks import (
    BOTTOM,
    LEFT,
    MOST_CURVES,
    MOST_DOTS,
    is_complete,
    thinned,
    tip_of,
    trial_dot,
    value_name,
    value_scale,
    winner_last,
    writer,
)
from search.report.data import ParameterFacts, StudyFacts, TrialFacts
from search.report.svg import (
    CHARACTER,
    HEIGHT,
    WIDTH,
    Axis,
    Drawing,
    Scale,
    draw_axes,
    draw_legend,
    scale_of,
)
from search.report.words import compact, shortened

_MOST_AXES = 8
_MOST_SLICES = 8
# Number of groups by rank, each with its colour.
_RANKS = 7
_MISSING = "not used"
_SLICE_WIDTH, _SLICE_HEIGHT = 280.0, 190.0


def sizes(study: StudyFacts) -> Markup | None:
    """Returns the value of every complete trial against the network's parameter count."""
    found = [trial for trial in study.counted if is_complete(trial) and trial.parameters]
    if len({trial.parameters for trial in found}) < 3:
        return None
    best = study.trial(study.best)
    drawing = Drawing(
        "sizes",
        title=f"Size of the network against {value_name(study)}",
        description=f"{len(found)} complete trials of "
        f"{compact(min(trial.parameters or 0 for trial in found))} to "
        f"{compact(max(trial.parameters or 0 for trial in found))} parameters; the winner has "
        f"{compact((best.parameters if best else None) or 0)}.",
    )
    top = draw_legend(drawing, [("s-winner", "winner"), ("s-trial", "complete")]) + 24
    x = scale_of([trial.parameters or 1 for trial in found], LEFT, WIDTH - 14, log=True)
    y = value_scale(study, [trial.value for trial in found], HEIGHT - BOTTOM, top)
    draw_axes(
        drawing, Axis(x, "parameters", compact, most=4), Axis(y, value_name(study), writer(study))
    )
    for trial in winner_last(thinned(found, MOST_DOTS, keep=study.best), study):
        trial_dot(drawing, study, trial, x(trial.parameters or 1), y(trial.value or 0.0))
    return drawing.render()


def slices(study: StudyFacts) -> list[Markup]:
    """Returns a chart of every complete trial's value against each important parameter."""
    found = [trial for trial in study.counted if is_complete(trial)]
    varied = [column for column in _columns(study, found) if column.varies]
    return [
        _slice(number, column, study, found) for number, column in enumerate(varied[:_MOST_SLICES])
    ]


def _slice(
    number: int, column: "_Column", study: StudyFacts, found: Sequence[TrialFacts]
) -> Markup:
    used = [trial for trial in found if column.name in trial.choices]
    drawing = Drawing(
        f"slice-{number}",
        title=f"{column.name} against {value_name(study)}",
        description=f"{len(used)} complete trials. {column.describe(used, study)}",
        width=_SLICE_WIDTH,
        height=_SLICE_HEIGHT,
    )
    x = column.scale(LEFT, _SLICE_WIDTH - 14)
    y = value_scale(study, [trial.value for trial in used], _SLICE_HEIGHT - BOTTOM, 28)
    axis = Axis(y, value_name(study), writer(study), most=4)
    if column.choices:
        draw_axes(drawing, Axis(Scale(0, 0, x.start, x.end), "", lambda value: "", most=1), axis)
        room = int((x.end - x.start) / len(column.choices) / CHARACTER)
        for position, choice in enumerate(column.choices):
            drawing.text(
                x(position),
                _SLICE_HEIGHT - BOTTOM + 17,
                shortened(choice, max(3, room)),
                text_anchor="middle",
            )
        drawing.text(
            (x.start + x.end) / 2,
            _SLICE_HEIGHT - 10,
            shortened(column.name, 50),
            text_anchor="middle",
            class_="name",
        )
    else:
        draw_axes(drawing, Axis(x, shortened(column.name, 50), compact), axis)
    for trial in winner_last(thinned(used, MOST_DOTS // 2, keep=study.best), study):
        at = x(column.position(trial))
        trial_dot(drawing, study, trial, at, y(trial.value or 0.0))
    return drawing.render()


def parallel(study: StudyFacts) -> Markup | None:
    """Returns every complete trial as a line through its choices, coloured by its rank."""
    found = [trial for trial in study.counted if is_complete(trial)]
    columns = [column for column in _columns(study, found) if column.varies][:_MOST_AXES]
    if len(found) < 2 or not columns:
        return None
    spacing, height = 128.0, 340.0
    width = spacing * len(columns) + 150
    best = study.trial(study.best)
    choice = (
        ""
        if best is None
        else ", ".join(f"{column.name} {_choice(best, column.name)}" for column in columns)
    )
    drawing = Drawing(
        "parallel",
        title=f"Choices of {len(found)} complete trials",
        description=f"Each line is a trial; its last axis is {value_name(study)}. The winner: "
        f"{choice}.",
        width=width,
        height=height,
        natural=True,
    )
    top, bottom = 44.0, height - 40
    places = [60 + spacing * number for number in range(len(columns) + 1)]
    scales = [column.scale(bottom, top) for column in columns]
    values = [trial.value or 0.0 for trial in found]
    last = value_scale(study, values, bottom, top)
    ranked = sorted(found, key=lambda trial: trial.value or 0.0, reverse=not study.maximize)
    kept = thinned(ranked, MOST_CURVES, keep=study.best)
    for position, trial in enumerate(winner_last(kept, study)):
        points = [
            (at, scale(column.position(trial)) if column.name in trial.choices else bottom + 18)
            for at, scale, column in zip(places, scales, columns, strict=False)
        ]
        points.append((places[-1], last(trial.value or 0.0)))
        rank = min(_RANKS - 1, position * _RANKS // len(kept))
        class_ = "s-winner" if trial.number == study.best else f"r{rank}"
        drawing.path(points, class_, tip=tip_of(trial, study))
    for at, scale, column in zip(places, scales, columns, strict=False):
        _draw_column(drawing, at, scale, column, top, bottom)
        if any(column.name not in trial.choices for trial in found):
            drawing.text(at + 6, bottom + 22, _MISSING, class_="halo")
    drawing.line((places[-1], top), (places[-1], bottom), "axis")
    drawing.text(places[-1], top - 24, value_name(study), text_anchor="middle", class_="name")
    for value in last.ticks(4):
        drawing.text(places[-1] + 6, last(value) + 4, writer(study)(value), class_="halo")
    return drawing.render()


def _draw_column(
    drawing: Drawing, at: float, scale: Scale, column: "_Column", top: float, bottom: float
) -> None:
    drawing.line((at, top), (at, bottom), "axis")
    drawing.text(at, top - 24, shortened(column.name, 18), text_anchor="middle", class_="name")
    if column.choices:
        marks = [(float(number), shortened(text, 15)) for number, text in enumerate(column.choices)]
    else:
        marks = [(value, compact(value)) for value in scale.ticks(4)]
    for value, text in marks:
        drawing.text(at + 6, scale(value) + 4, text, class_="halo")


@dataclass(frozen=True)
class _Column:
    """A parameter with the positions of its values on an axis."""

    name: str
    log: bool
    whole: bool
    choices: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def varies(self) -> bool:
        """Whether trials have different values."""
        return len(set(self.values)) > 1

    def position(self, trial: TrialFacts) -> float:
        """Returns the position of a trial's value on the axis."""
        value = trial.choices[self.name]
        if self.choices:
            text = str(value)
            return float(self.choices.index(text)) if text in self.choices else 0.0
        return float(value)

    def scale(self, start: float, end: float) -> Scale:
        """Returns the axis."""
        if self.choices:
            return Scale(-0.5, len(self.choices) - 0.5, start, end)
        return scale_of(self.values, start, end, log=self.log, whole=self.whole)

    def describe(self, trials: Sequence[TrialFacts], study: StudyFacts) -> str:
        """Describes the values of the better half of the trials."""
        ranked = sorted(trials, key=lambda trial: trial.value or 0.0, reverse=study.maximize)
        better = ranked[: max(1, len(ranked) // 2)]
        if self.choices:
            counted = {
                choice: sum(str(trial.choices[self.name]) == choice for trial in better)
                for choice in self.choices
            }
            found = ", ".join(f"{choice} {count}" for choice, count in counted.items() if count)
            return f"Among the better half: {found}."
        values = [float(trial.choices[self.name]) for trial in better]
        return f"The better half ranges from {compact(min(values))} to {compact(max(values))}."


def _columns(study: StudyFacts, trials: Sequence[TrialFacts]) -> list[_Column]:
    columns = []
    for parameter in study.parameters:
        found = [
            trial.choices[parameter.name] for trial in trials if parameter.name in trial.choices
        ]
        columns.append(_column(parameter, found))
    return columns


def _column(parameter: ParameterFacts, found: Sequence[Any]) -> _Column:
    if parameter.choices:
        texts = [str(value) for value in found]
        seen = tuple(choice for choice in parameter.choices if choice in texts)
        positions = tuple(float(seen.index(text)) for text in texts if text in seen)
        return _Column(parameter.name, False, False, seen, positions)
    values = tuple(float(value) for value in found)
    return _Column(parameter.name, parameter.log, parameter.whole, (), values)


def _choice(trial: TrialFacts, name: str) -> str:
    value = trial.choices.get(name, _MISSING)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
