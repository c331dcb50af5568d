"""Class names in a form that a figure can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search.system.names import shown

# A legend with more names would leave no room for the figure.
_MOST_NAMES_IN_LEGEND = 20
_WIDTH_IN_LEGEND = 40
# matplotlib stores a font's weight as a number or a word, and warns about any other weight.
_REGULAR = (400, "normal", "regular", "roman", "book")


@dataclass(frozen=True)
class ClassLabels:
    """A text for each class, the font families that draw them, and a legend if they are numbers."""

    texts: tuple[str, ...]
    families: list[str]
    legend: str = ""


def class_labels(
    class_names: Sequence[str], classes: Iterable[int] | None = None, *, width: int
) -> ClassLabels:
    """Returns a text of at most `width` characters for each class.

    Characters that the default font lacks are drawn with other installed fonts. If no installed
    font has them, the texts are the numbers of the model's outputs, and a legend gives the escaped
    names. `classes` are the numbers that the figure shows, all by default.
    """
    numbers = sorted(set(range(len(class_names)) if classes is None else classes))
    texts = tuple(_shortened(shown(name), width) for name in class_names)
    families = font_families("".join(texts[number] for number in numbers))
    if families is not None:
        return ClassLabels(tuple(map(_without_formula, texts)), families)
    listed = ", ".join(f"{number}: {_escaped(class_names[number])}" for number in numbers)
    if len(numbers) > _MOST_NAMES_IN_LEGEND:
        listed = "numbers follow the rows of classification_report.txt, from 0"
    texts = tuple(map(str, range(len(class_names))))
    return ClassLabels(texts, [_default_family()], _without_formula(listed))


def font_families(text: str) -> list[str] | None:
    """Returns installed font families that together have every character of a text.

    The default family comes first. Returns None if a character is in no installed font.
    """
    from matplotlib.font_manager import fontManager

    default = _default_family()
    chosen = [default]
    missing = set(map(ord, text)) - _characters(default)
    regular = (
        font.name
        for font in fontManager.ttflist
        if font.style == "normal" and font.weight in _REGULAR
    )
    # Last Resort draws a box for every character; the others map letters to symbols.
    unfit = ("Last Resort", "STIXNonUnicode", "STIXSize", "cm")
    others = [name for name in sorted({*regular} - {default}) if not name.startswith(unfit)]
    while missing:
        covered = {name: missing & _characters(name) for name in others}
        best = max(covered, key=lambda name: len(covered[name]), default=default)
        if not covered.get(best):
            return None
        chosen.append(best)
        missing -= covered[best]
    return chosen


def _default_family() -> str:
    from matplotlib.font_manager import FontProperties

    return FontProperties().get_name()


def _characters(family: str) -> set[int]:
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    try:
        path = fontManager.findfont(FontProperties(family=[family]), fallback_to_default=False)
        return set(get_font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):  # removed since it was listed, or unreadable
        return set()


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def _escaped(name: str) -> str:
    ascii_only = shown(name).encode("ascii", "backslashreplace").decode("ascii")
    return _shortened(ascii_only, _WIDTH_IN_LEGEND)


def _without_formula(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar sign would start a formula
