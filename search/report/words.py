"""The format of numbers and names in a report."""

import math

from search.progress.words import duration, metric_words
from search.system.names import shown, without_passwords

TIMES = "\N{MULTIPLICATION SIGN}"
NONE = "\N{EN DASH}"
_SHARES = {"accuracy", "balanced_accuracy", "macro_f1"}


def percent(share: float | None, digits: int = 1) -> str:
    """Returns a share of 0..1 as a percentage, as in `97.4%`."""
    return NONE if share is None else f"{share * 100:.{digits}f}%"


def metric_value(value: float | None, metric: str) -> str:
    """Returns a metric's value: accuracies as percentages, others with four digits."""
    if value is None or not math.isfinite(value):
        return NONE
    return percent(value) if metric in _SHARES else f"{value:z.4f}"


def metric_name(metric: str) -> str:
    """Returns a metric's name for a reader, as in `balanced accuracy`."""
    return metric_words(metric)


def is_share(metric: str) -> bool:
    """Whether a metric is written as a percentage."""
    return metric in _SHARES


def short(number: float | None) -> str:
    """Returns a count with three digits and its unit, as in `1.16 million`."""
    if number is None:
        return NONE
    for size, unit in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:,.0f}"


def compact(number: float) -> str:
    """Returns a count for the axis of a chart, as in `1.2M`."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def milliseconds(seconds: float | None) -> str:
    """Returns a latency in milliseconds, or in seconds if it is long."""
    if seconds is None:
        return NONE
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def file_size(size: int | None) -> str:
    """Returns a file's size in kB or MB."""
    if size is None:
        return NONE
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def hours(seconds: float) -> str:
    """Returns a cost in hours, or in smaller units below a tenth of one."""
    return span(seconds) if seconds < 360 else f"{seconds / 3600:.2g} hours"


def span(seconds: float | None) -> str:
    """Returns a duration in words."""
    return NONE if seconds is None else duration(seconds)


def safe(text: str) -> str:
    """Returns text from outside without control characters and without passwords of URLs."""
    return without_passwords(shown(text))


def shortened(text: str, width: int) -> str:
    """Returns a text of at most `width` characters."""
    text = safe(text)
    return text if len(text) <= width else text[: width - 1] + "…"
