"""The charts of the test results."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from search.report.data import Calibration
from search.report.statistics import wilson_interval
from search.report.svg import (
    HEIGHT,
    WIDTH,
    Axis,
    Drawing,
    Scale,
    draw_axes,
    draw_legend,
)
from search.report.words import compact, percent, shortened

_LEFT, _BOTTOM = 48.0, 44.0
_COUNTS = 56.0
_LEAST_RADIUS, _RADIUS = 2.5, 4.0
# Cells of one shade share a path. The eye distinguishes about this many shades.
SHADES = 9
_NAME_CHARACTERS = 26
_SMALL_CHARACTER = 6.2
_MOST_NAMED = 150


def calibration(found: Calibration) -> Markup:
    """Returns accuracy by confidence, with the number of images at each confidence below it."""
    filled = [one for one in found.bins if one.images]
    described = "; ".join(
        f"{percent(one.low, 0)} to {percent(one.high, 0)} sure: {percent(one.accuracy)} right of "
        f"{one.images} images"
        for one in filled
    )
    height = HEIGHT + _COUNTS + 14
    drawing = Drawing(
        "calibration",
        title=f"Confidence against accuracy, expected calibration error {percent(found.error)}",
        description=f"{described}.",
        height=height,
    )
    entries = [("s-guide", "perfectly calibrated"), ("s-winner", "the winner, 95% interval")]
    top = draw_legend(drawing, entries) + 24
    bottom = height - _BOTTOM - _COUNTS - 14
    x = Scale(0.0, 1.0, _LEFT, WIDTH - 10)
    y = Scale(0.0, 1.0, bottom, top)
    for value in y.ticks():
        drawing.line((_LEFT, y(value)), (WIDTH - 10, y(value)), "grid")
        drawing.text(_LEFT - 6, y(value) + 4, percent(value, 0), text_anchor="end")
    drawing.text(2, top - 13, "accuracy", class_="name")
    drawing.line((x(0), y(0)), (x(1), y(1)), "s-guide")
    most = max(one.images for one in filled)
    for one in filled:
        at = x(one.confidence)
        low, high = wilson_interval(round(one.accuracy * one.images), one.images)
        drawing.line((at, y(low)), (at, y(high)), "s-winner whisker")
        radius = _LEAST_RADIUS + _RADIUS * math.sqrt(one.images / most)
        drawing.dot((at, y(one.accuracy)), radius, "s-winner dot", tip=f"{one.images} images")
    base = height - _BOTTOM
    counts = Scale(0, most, base, base - _COUNTS)
    draw_axes(
        drawing,
        Axis(x, "confidence", lambda value: percent(value, 0)),
        Axis(counts, "", compact, most=2),
    )
    for one in found.bins:
        left, right = x(one.low) + 1, x(one.high) - 1
        drawing.add(
            "rect",
            x=left,
            y=counts(one.images),
            width=right - left,
            height=base - counts(one.images),
            class_="bar",
            tip=f"{one.images} images",
        )
    drawing.text(_LEFT + 4, base - _COUNTS + 2, "images", class_="name")
    return drawing.render()


def shade_of(share: float) -> int:
    """Returns the shade, 0 to 9, of a share of a class, from its root because mistakes are rare."""
    return 0 if share <= 0 else max(1, min(SHADES, round(share**0.5 * SHADES)))


def large_confusion_matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    """Returns the confusion matrix of many classes: cells without numbers, names on both sides."""
    classes = len(counts)
    named = classes <= _MOST_NAMED
    side = 11.0 if named else max(2.0, 1200.0 / classes)
    labels = [shortened(name, _NAME_CHARACTERS) for name in names]
    margin = max(map(len, labels)) * _SMALL_CHARACTER + 10 if named else 20.0
    size = margin + classes * side + 4
    wrong = [
        (count, row, column)
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count and row != column
    ]
    worst = "; ".join(
        f"{names[row]} taken for {names[column]} {count} times"
        for count, row, column in sorted(wrong, reverse=True)[:10]
    )
    drawing = Drawing(
        "confusion",
        title=f"Confusion matrix of {classes} classes",
        description=f"True classes in rows, predicted ones in columns. {worst or 'No mistake'}.",
        width=size,
        height=size,
        natural=True,
    )
    shades: dict[int, list[str]] = {}
    for row, line in enumerate(counts):
        whole = sum(line) or 1
        for column, count in enumerate(line):
            if count:
                at = f"M{margin + column * side:.4g} {margin + row * side:.4g}"
                cell = f"{at}h{side:.3g}v{side:.3g}h-{side:.3g}z"
                kind = 10 if row != column else 0
                shades.setdefault(kind + shade_of(count / whole), []).append(cell)
    drawing.add(
        "rect", x=margin, y=margin, width=classes * side, height=classes * side, class_="sheet"
    )
    for shade, cells in sorted(shades.items()):
        tone = "m" if shade >= 10 else "h"
        drawing.add("path", d="".join(cells), class_=f"{tone}{shade % 10}")
    for number, label in enumerate(labels if named else ()):
        middle = margin + (number + 0.75) * side
        drawing.text(margin - 4, middle, label, text_anchor="end", class_="small")
        drawing.add(
            "text",
            label,
            transform=f"translate({middle:.1f} {margin - 4:.1f}) rotate(-90)",
            class_="small",
        )
    return drawing.render()
