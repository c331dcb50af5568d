"""Greyscale of 16 and 32 bits: which values become black and white."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.data import decoding
from search.data.levels import Levels, choose_levels

SIZE = (4, 6)


def encoded(values: Any) -> bytes:
    """Returns a PNG for 16-bit values, otherwise a TIFF."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG" if values.dtype == np.uint16 else "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (np.array([100, 4095], dtype=np.uint16), Levels(100, 4095)),
        (np.array([0, 4095], dtype=">u2"), Levels(0, 4095)),
        (np.array([0, 4095], dtype=np.int32), Levels(0, 4095)),
        (np.array([-1000, 3000], dtype=np.int32), Levels(-1000, 3000)),
        (np.array([0, 65535], dtype=np.uint16), Levels(0, 65535)),
        (np.array([3, 250], dtype=np.uint16), Levels(0, 255)),
        (np.array([0.2, 0.9], dtype=np.float32), Levels(0, 1)),
        (np.array([7.0, 7.0], dtype=np.float32), Levels(0, 255)),
        (np.array([300.0, 300.0], dtype=np.float32), Levels(300, 300)),
    ],
)
def test_deep_grey_is_scaled_from_its_levels(values: Any, levels: Levels) -> None:
    content = encoded(np.tile(values, (4, 3)))
    header = decoding.read_header(content)
    np.testing.assert_allclose([header.low, header.high], [values.min(), values.max()])
    assert choose_levels(header.low, header.high) == levels
    decoded = decoding.decode(content, SIZE, levels)
    span = (levels.high - levels.low) or 1
    expected = np.rint((values.astype(float) - levels.low) / span * 255)
    assert np.abs(decoded[0, :2, 0] - expected).max() <= 1


def test_values_outside_the_levels_become_black_and_white() -> None:
    content = encoded(np.tile(np.array([0, 5000], np.uint16), (4, 3)))
    assert decoding.decode(content, SIZE, Levels(100, 4095))[0, :2, 0].tolist() == [0, 255]


def test_values_that_are_no_numbers() -> None:
    content = encoded(np.full((4, 6), np.nan, np.float32))
    with pytest.raises(ValueError, match="not finite"):
        decoding.read_header(content)
    with pytest.raises(ValueError, match="not finite"):
        decoding.decode(content, SIZE)
