"""The plot: a panel per work, a line per method, and the winners' test accuracies at the right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.curve import value_at
from benchmarks.comparison.rows import Row, of_work
from benchmarks.comparison.works import WORKS, Work
from search.system.files import whole_file

# The colour-blind safe palette of Okabe and Ito; markers and dashes differ as well.
_LOOKS = {
    "auto": ("#0072B2", "-", "o"),
    "depth_filters": ("#009E73", "--", "s"),
    "quickstart": ("#56B4E9", "-", "v"),
    "default": ("#000000", ":", "D"),
    "optuna": ("#D55E00", "-.", "^"),
    "keras_tuner": ("#CC79A7", (0, (5, 1, 1, 1, 1, 1)), "X"),
}
_MOMENTS = 400
_COLUMNS = 2


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draws the works that have rows; does nothing if there are no rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    works = [(work, found) for work in WORKS if (found := of_work(rows, work.name))]
    if not works:
        return
    columns = min(_COLUMNS, len(works))
    lines = -(-len(works) // columns)
    figure, panels = pyplot.subplots(
        lines, columns, figsize=(6.4 * columns, 4.2 * lines), squeeze=False
    )
    for panel, (work, methods) in zip(panels.flat, works, strict=False):
        _draw_work(panel, work, methods)
    for panel in panels.flat[len(works) :]:
        panel.set_axis_off()
    figure.suptitle(
        "Best validation accuracy over time (mean and range over seeds); "
        "right of the line: test accuracy of each winner.\n"
        "Dotted: the minimum test accuracy of ours for every seed.",
        fontsize=10,
    )
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)


def _draw_work(panel: Any, work: Work, methods: dict[str, list[Row]]) -> None:
    given = max(row.given_seconds for rows in methods.values() for row in rows)
    lowest = []
    for place, (method, rows) in enumerate(methods.items()):
        colour, dashes, marker = _LOOKS[method]
        moments = np.linspace(0, given, _MOMENTS)
        values = np.array(
            [
                [np.nan if (value := value_at(row.curve, t)) is None else value for t in moments]
                for row in rows
            ]
        )
        # Start where every seed has a value; a mean over fewer seeds would jump.
        known = ~np.isnan(values).any(axis=0)
        if known.any():
            part = 100 * values[:, known]
            at = moments[known] / 60
            panel.plot(at, part.mean(axis=0), color=colour, linestyle=dashes, label=method, lw=1.8)
            panel.fill_between(at, part.min(axis=0), part.max(axis=0), color=colour, alpha=0.15)
            # The first tenth of a search would stretch the axis and flatten the rest.
            lowest.append(part.min(axis=0)[at >= given / 600].min(initial=100.0))
        tests = [100 * row.test_accuracy for row in rows]
        lowest.append(min(tests))
        panel.plot(
            np.full(len(tests), given / 60 * (1.04 + 0.035 * place)),
            tests,
            marker,
            color=colour,
            markersize=6,
            markerfacecolor="none",
            label=None if known.any() else method,
        )
    panel.axvline(given / 60, color="grey", lw=0.8)
    if work.least is not None:
        panel.axhline(100 * work.least, color="grey", lw=0.8, ls=(0, (1, 3)))
    panel.set_title(work.name, fontsize=10)
    panel.set_xlim(0, given / 60 * (1.04 + 0.035 * len(methods)))
    panel.set_ylim(max(0.0, min(lowest) - 3), 101)
    panel.set_xlabel("minutes")
    panel.set_ylabel("accuracy, %")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, loc="lower right")
