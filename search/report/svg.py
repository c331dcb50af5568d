"""Inline SVG: marks, scales and axes, drawn with the colours of the page's style sheet.

All text is escaped here. Coordinates are pixels of a drawing that the page scales to its column.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from search.report.words import safe

# At this width a chart that fills a phone's screen keeps its text readable.
WIDTH = 360.0
HEIGHT = 240.0
# Average width of a character in the charts' font.
CHARACTER = 6.4
Point = tuple[float, float]


class Drawing:
    """An SVG picture with a title and a description for screen readers.

    `name` makes their identifiers unique in a page. With `natural` the picture keeps its size and
    scrolls in its column; otherwise it fills the column.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str,
        description: str,
        width: float = WIDTH,
        height: float = HEIGHT,
        natural: bool = False,
    ) -> None:
        self.width, self.height = width, height
        self._head = (name, title, description, natural)
        self._marks: list[Markup] = []

    def add(self, tag: str, text: str | None = None, **attributes: object) -> None:
        """Adds an element; `class_` and `stroke_width` become `class` and `stroke-width`."""
        self._marks.append(_element(tag, text, attributes))

    def text(self, x: float, y: float, text: str, **attributes: object) -> None:
        """Adds text that starts, ends or is centred (`text_anchor`) at a point on its baseline."""
        self.add("text", text, x=x, y=y, **attributes)

    def line(self, start: Point, end: Point, class_: str) -> None:
        """Adds a straight line."""
        self.add("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)

    def path(self, points: Iterable[Point], class_: str, *, tip: str | None = None) -> None:
        """Adds a line through points; `tip` is shown when the pointer rests on it."""
        commands = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self.add("path", d=f"M{commands}", class_=class_, tip=tip)

    def dot(self, point: Point, radius: float, class_: str, *, tip: str | None = None) -> None:
        """Adds a circle."""
        self.add("circle", cx=point[0], cy=point[1], r=radius, class_=class_, tip=tip)

    def render(self) -> Markup:
        """Returns the whole picture."""
        name, title, description, natural = self._head
        size = (
            Markup('width="{}" height="{}"').format(_number(self.width), _number(self.height))
            if natural
            else Markup("")
        )
        head = Markup(
            '<svg viewBox="0 0 {} {}" {} class="chart{}" role="img" '
            'aria-labelledby="{}-title {}-text"><title id="{}-title">{}</title>'
            '<desc id="{}-text">{}</desc>'
        ).format(
            _number(self.width),
            _number(self.height),
            size,
            " natural" if natural else "",
            *(name, name, name, safe(title), name, safe(description)),
        )
        return head + Markup("").join(self._marks) + Markup("</svg>")


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`.

    `whole` is true if the values are integers.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False

    def __call__(self, value: float) -> float:
        """Returns the pixel of a value, clipped a little outside the scale."""
        low, high, value = (self._warp(each) for each in (self.low, self.high, value))
        share = 0.5 if high == low else (value - low) / (high - low)
        return self.start + max(-0.02, min(1.02, share)) * (self.end - self.start)

    def _warp(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value

    def ticks(self, most: int = 5) -> list[float]:
        """Returns round values inside the scale."""
        found = _log_ticks(self.low, self.high, most) if self.log else self._linear_ticks(most)
        return [tick for tick in found if tick == round(tick)] if self.whole else found

    def _linear_ticks(self, most: int) -> list[float]:
        width = self.high - self.low
        if width <= 0:
            return [self.low]
        step = max(_round_step(width / most), 1.0 if self.whole else 0.0)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def scale_of(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    log: bool = False,
    whole: bool = False,
    low: float | None = None,
    high: float | None = None,
    padding: float = 0.05,
) -> Scale:
    """Returns a scale that holds all finite values, and `low` and `high` if they are given."""
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    least = min(finite, default=1.0 if log else 0.0)
    most = max(finite, default=1.0)
    if log:
        factor = (most / least) ** padding if most > least else 2.0
        least, most = least / factor, most * factor
    else:
        margin = (most - least) * padding if most > least else abs(most) * 0.05 or 0.5
        least, most = least - margin, most + margin
    return Scale(least if low is None else low, most if high is None else high, start, end, log=log)


@dataclass(frozen=True)
class Axis:
    """A scale with its name and the format of its values."""

    scale: Scale
    label: str
    write: Callable[[float], str]
    most: int = 5


def draw_axes(drawing: Drawing, x: Axis, y: Axis) -> None:
    """Draws grid lines, ticks, and the names of both axes."""
    left, right = x.scale.start, x.scale.end
    bottom, top = y.scale.start, y.scale.end
    for value in y.scale.ticks(y.most):
        at = y.scale(value)
        drawing.line((left, at), (right, at), "grid")
        drawing.text(left - 6, at + 4, y.write(value), text_anchor="end")
    for value in x.scale.ticks(x.most):
        at = x.scale(value)
        drawing.line((at, bottom), (at, bottom + 4), "axis")
        draw_tick(drawing, at, bottom + 17, x.write(value))
    drawing.line((left, bottom), (right, bottom), "axis")
    drawing.text((left + right) / 2, bottom + 34, x.label, text_anchor="middle", class_="name")
    drawing.text(2, top - 13, y.label, class_="name")


def draw_tick(drawing: Drawing, at: float, y: float, text: str) -> None:
    """Draws the text of a tick below an axis, inside the picture."""
    if at + CHARACTER * 1.3 * len(text) / 2 > drawing.width:
        drawing.text(drawing.width - 1, y, text, text_anchor="end")
    else:
        drawing.text(at, y, text, text_anchor="middle")


def draw_legend(drawing: Drawing, entries: Sequence[tuple[str, str]], *, y: float = 12) -> float:
    """Draws (class, text) entries in rows from the height `y`; returns the height below them."""
    x = 2.0
    for class_, text in entries:
        width = 26 + CHARACTER * len(text) + 12
        if x > 2 and x + width > drawing.width:
            x, y = 2.0, y + 18
        drawing.line((x, y - 4), (x + 20, y - 4), class_)
        drawing.text(x + 26, y, text, class_="legend")
        x += width
    return y + 8


def _round_step(step: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= step * (1 - 1e-9))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [each * 10.0**power for power in decades for each in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most + 1:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def _element(tag: str, text: str | None, attributes: dict[str, object]) -> Markup:
    tip = attributes.pop("tip", None)
    written = Markup("").join(
        Markup(' {}="{}"').format(
            name.rstrip("_").replace("_", "-"),
            _number(value) if isinstance(value, float | int) else value,
        )
        for name, value in attributes.items()
        if value is not None
    )
    inside = Markup("") if text is None else escape(safe(text))
    if tip is not None:
        inside += Markup("<title>{}</title>").format(safe(str(tip)))
    return Markup("<{}{}>{}</{}>").format(Markup(tag), written, inside, Markup(tag))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
