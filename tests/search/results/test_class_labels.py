"""The labels in figures of classes whose names the font may lack."""

import pytest
from matplotlib.font_manager import FontProperties

from search.results import class_labels as module
from search.results.class_labels import class_labels, font_families

DEFAULT = FontProperties().get_name()


def test_names_that_the_default_font_has() -> None:
    labels = class_labels(["caf\u00e9", "$x^2$", "a\nb", "long" * 9], width=8)

    assert labels.texts == ("caf\u00e9", r"\$x^2\$", r"a\nb", "longlon\u2026")
    assert (labels.families, labels.legend) == ([DEFAULT], "")


def test_another_installed_font_helps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    characters = {DEFAULT: set(range(128)), "STIXGeneral": {ord("\u732b")}}
    monkeypatch.setattr(module, "_characters", lambda family: characters.get(family, set()))

    assert font_families("cat \u732b") == [DEFAULT, "STIXGeneral"]


def test_letters_in_no_font_become_numbers_with_a_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    ascii_only = set(range(128))
    monkeypatch.setattr(module, "_characters", lambda family: ascii_only)

    labels = class_labels(["cat", "\u732b", "dog"], [1, 0, 1], width=18)
    many = class_labels(["\u732b"] * 30, width=18)

    assert labels.texts == ("0", "1", "2")
    assert labels.legend == r"0: cat, 1: \u732b"
    assert many.legend == "numbers follow the rows of classification_report.txt, from 0"
