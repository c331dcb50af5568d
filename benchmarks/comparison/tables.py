"""The rows as Markdown tables: test accuracies, search versus default, and progress over time."""

from collections.abc import Sequence
from statistics import fmean

from benchmarks.comparison.curve import value_at
from benchmarks.comparison.rows import Row, of_work
from benchmarks.comparison.works import OURS, WORKS

_MOMENTS = (0.3, 0.6, 1.0)
# A search that ends more than this below its own first candidate has failed.
_TOLERANCE = 0.005


def accuracy_table(rows: Sequence[Row]) -> str:
    """Returns a line per work and method: test accuracies, and whether all reach the minimum."""
    lines = [["work", "time", "method", "test accuracy by seed", "min", "mean"]]
    lines[0] += ["longest run", "at least", "in every seed"]
    for work in WORKS:
        for method, found in of_work(rows, work.name).items():
            accuracies = [row.test_accuracy for row in found]
            given = "/".join(dict.fromkeys(_duration(row.given_seconds) for row in found))
            late = max(row.seconds / row.given_seconds for row in found)
            least, met = "", ""
            if work.least is not None:
                least = _percent(work.least, digits=0)
                if method in OURS:
                    met = "yes" if min(accuracies) >= work.least else "no"
            lines.append(
                [
                    work.name,
                    given,
                    method,
                    ", ".join(f"{row.seed}: {_percent(row.test_accuracy)}" for row in found),
                    _percent(min(accuracies)),
                    _percent(fmean(accuracies)),
                    f"{late:.0%} of the time",
                    least,
                    met,
                ]
            )
    return markdown(lines)


def default_table(rows: Sequence[Row]) -> str:
    """Returns a line per work: `auto` minus its first candidate trained for the same time."""
    lines = [["work", "auto minus default by seed, points", "worst", "mean", "passes"]]
    for work in WORKS:
        methods = of_work(rows, work.name)
        default = {row.seed: row.test_accuracy for row in methods.get("default", ())}
        differences = {
            row.seed: row.test_accuracy - default[row.seed]
            for row in methods.get("auto", ())
            if row.seed in default
        }
        if not differences:
            continue
        worst, mean = min(differences.values()), fmean(differences.values())
        # A margin for rounding errors in the difference.
        passes = worst >= -_TOLERANCE - 1e-9 and mean > 0
        lines.append(
            [
                work.name,
                ", ".join(f"{seed}: {100 * each:+.1f}" for seed, each in differences.items()),
                f"{100 * worst:+.1f}",
                f"{100 * mean:+.1f}",
                "yes" if passes else "no",
            ]
        )
    return markdown(lines)


def progress_table(rows: Sequence[Row]) -> str:
    """Returns a line per work and method: mean best validation accuracy at shares of the time."""
    head = ["work", "method", *(f"at {moment:.0%} of the time" for moment in _MOMENTS)]
    lines = [head]
    for work in WORKS:
        for method, found in of_work(rows, work.name).items():
            cells = []
            for moment in _MOMENTS:
                values = [value_at(row.curve, moment * row.given_seconds) for row in found]
                # A run without any model yet counts as 0.
                cells.append(_percent(fmean(value or 0.0 for value in values)))
            lines.append([work.name, method, *cells])
    return markdown(lines)


def _percent(fraction: float, *, digits: int = 1) -> str:
    # Round down, so that a missed minimum never looks reached.
    scale = 10**digits
    return f"{int(100 * fraction * scale + 1e-6) / scale:.{digits}f}%"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table of cells; the first line is the heading."""
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
