"""Values with their intervals on one scale, one row each: readable on a narrow screen."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from search.report.svg import CHARACTER, WIDTH, Drawing, draw_tick, scale_of
from search.report.words import compact, percent, shortened

_ROW = 38.0


@dataclass(frozen=True)
class Row:
    """A labelled value; `interval` is its 95% interval."""

    label: str
    value: float
    class_: str
    interval: tuple[float, float] | None = None


def draw_rows(
    name: str,
    rows: Sequence[Row],
    *,
    title: str,
    percent_scale: bool,
    join: bool = False,
) -> Markup:
    """Returns a dot for every row; `join` draws a band from the first to the last."""

    def write(value: float) -> str:
        return percent(value) if percent_scale else compact(value)

    def interval(row: Row) -> str:
        return "" if row.interval is None else f" (95%: {' to '.join(map(write, row.interval))})"

    ends = [end for row in rows for end in (row.interval or (row.value,))]
    described = "; ".join(f"{row.label} {write(row.value)}{interval(row)}" for row in rows)
    height = _ROW * len(rows) + 34
    drawing = Drawing(name, title=title, description=f"{described}.", height=height)
    high = 1.0 if percent_scale and max(ends) > 0.97 else None
    x = scale_of(ends, 10, WIDTH - 10, high=high, padding=0.08)
    for value in x.ticks():
        drawing.line((x(value), 6), (x(value), height - 26), "grid")
        draw_tick(drawing, x(value), height - 8, write_tick(value, percent_scale))
    if join and len(rows) > 1:
        least, most = sorted((x(rows[0].value), x(rows[-1].value)))
        drawing.add("rect", x=least, y=6, width=most - least, height=height - 32, class_="span")
    for number, row in enumerate(rows):
        y = 30 + number * _ROW
        written = write(row.value)
        room = int((WIDTH - 20) / CHARACTER) - len(written) - 2
        drawing.text(2, y - 12, shortened(row.label, room), class_="label")
        drawing.text(WIDTH - 2, y - 12, written, text_anchor="end", class_="value")
        drawing.line((10, y), (WIDTH - 10, y), "track")
        if row.interval is not None:
            low, high_end = x(row.interval[0]), x(row.interval[1])
            drawing.line((low, y), (high_end, y), f"{row.class_} whisker")
            for end in (low, high_end):
                drawing.line((end, y - 5), (end, y + 5), f"{row.class_} whisker")
        drawing.dot((x(row.value), y), 5, f"{row.class_} dot", tip=f"{row.label}: {written}")
    return drawing.render()


def write_tick(value: float, percent_scale: bool) -> str:
    """Returns the text of a tick, without unneeded digits."""
    if not percent_scale:
        return compact(value)
    return f"{value * 100:.4g}%"
