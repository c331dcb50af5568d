"""Scales, ticks and escaping of the report's pictures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.report.svg import Drawing, Scale, scale_of


def test_ticks_are_round_and_inside() -> None:
    assert Scale(0.0, 1.0, 0, 100).ticks() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Scale(0.913, 0.987, 0, 100).ticks(4) == [0.92, 0.94, 0.96, 0.98]
    assert Scale(0.0007, 0.2, 0, 100, log=True).ticks() == [0.001, 0.003, 0.01, 0.03, 0.1]


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-6, 1e6),
    st.integers(2, 8),
)
def test_there_are_never_too_many_ticks(low: float, width: float, most: int) -> None:
    scale = Scale(low, low + width, 0, 100)
    ticks = scale.ticks(most)

    assert len(ticks) <= most + 1
    assert all(low - width * 1e-3 <= tick <= low + width * 1.001 for tick in ticks)


@given(st.floats(1e-8, 1.0), st.floats(1.01, 1e9), st.integers(3, 8))
def test_there_are_never_too_many_logarithmic_ticks(low: float, factor: float, most: int) -> None:
    scale = Scale(low, low * factor, 0, 100, log=True)

    assert len(scale.ticks(most)) <= most + 1


def test_a_scale_ignores_what_is_not_finite() -> None:
    scale = scale_of([1.0, math.nan, 3.0, math.inf], 0, 100, padding=0.0)

    assert (scale.low, scale.high) == (1.0, 3.0)


def test_one_value_still_has_a_scale() -> None:
    scale = scale_of([0.5], 0, 100)

    assert scale.low < 0.5 < scale.high
    assert 0 < scale(0.5) < 100


def test_a_value_outside_stays_near_the_picture() -> None:
    scale = Scale(0.0, 1.0, 0, 100)

    assert scale(1e9) == pytest.approx(102)
    assert scale(-1e9) == pytest.approx(-2)


def test_every_text_is_escaped() -> None:
    drawing = Drawing("x", title="<t>", description='"d" & \x1b[0m')
    drawing.text(1, 2, "<script>", class_='"><script>')
    drawing.dot((1, 2), 3, "dot", tip="</title><script>")
    rendered = str(drawing.render())

    assert "<script" not in rendered
    assert "\x1b" not in rendered
    assert "&lt;script&gt;" in rendered
