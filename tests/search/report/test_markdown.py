"""The report as Markdown."""

import re
from pathlib import Path

import optuna
import pytest

from search.report.gather import gather
from search.report.markdown import escaped, render_markdown
from search.results.run_result import RunResult
from tests.search.report.conftest import HOSTILE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("=cmd()", r"\=cmd()"),
        ("\x1b[31mred", r"\\x1b\[31mred"),
        ("two\nlines", r"two\\nlines"),
        ("a|b", r"a\|b"),
        ("- a", r"\- a"),
        ("1. a", r"1\. a"),
        ("http://e.example", r"http\://e.example"),
        ("www.e.example", r"www\.e.example"),
        ("well-known (yes): 4.5", "well-known (yes): 4.5"),
    ],
)
def test_escaping(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_hostile_class_names_stay_in_their_cells(hostile: RunResult) -> None:
    data = gather(hostile.study, hostile.directory)
    text = render_markdown(data, beside=hostile.directory)

    assert "<" not in re.sub(r"\\<", "", text)
    assert "\x1b" not in text
    for name in HOSTILE:
        assert escaped(name) in text
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    assert len(tables) > 5
    for table in tables:
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1, table


def test_pictures_are_linked_where_they_lie_beside_it(finished: RunResult, tmp_path: Path) -> None:
    data = gather(finished.study, finished.directory)

    assert "](learning_curve.png)" in render_markdown(data, beside=finished.directory)
    assert "](" not in render_markdown(data, beside=tmp_path)


def test_it_says_what_the_page_says(finished: RunResult, tmp_path: Path) -> None:
    text = render_markdown(gather(finished.study, finished.directory), beside=tmp_path)

    assert f"**{finished.metrics['test']['accuracy'] * 100:.1f}%**" in text
    assert "95% interval" in text
    for title in ("Learning and overfitting", "The network", "The search", "To repeat it"):
        assert f"## {title}" in text


def test_a_study_in_the_middle(unfinished: optuna.Study, tmp_path: Path) -> None:
    text = render_markdown(gather(unfinished, None), beside=tmp_path)

    assert r"ValueError: \<b\>broken\</b\>" in text
    assert "## Test images" not in text
