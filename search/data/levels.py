"""Black and white levels of greyscale images with 16 and 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.data.types import Images


@dataclass(frozen=True)
class Levels:
    """The values that map to 0 and 255, the same for every image of a data set."""

    low: float
    high: float

    def as_uint8(self, values: NDArray[Any]) -> Images:
        """Scales values of any type to uint8; values outside the levels are clipped to 0 or 255.

        Raises ValueError if values are not finite.
        """
        if not np.isfinite(values).all():
            raise ValueError("holds values that are not finite")
        if self == SIXTEEN_BITS:
            return (np.clip(values.astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
        span = (self.high - self.low) or 1.0
        scaled = (values.astype(np.float64) - self.low) * (255 / span)
        pixels: Images = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        return pixels


SIXTEEN_BITS = Levels(0, 65535)


def choose_levels(low: float, high: float) -> Levels:
    """Returns the levels of a data set with values from `low` to `high`.

    Fractions, 8-bit and 16-bit values keep the range of their type. Other values are stretched from
    their own range: 12-bit sensor data fill only a sixteenth of the 16-bit range that stores them.
    """
    if low >= 0:
        for top in (1, 255):
            if high <= top:
                return Levels(0, top)
        if high <= SIXTEEN_BITS.high and high - low > SIXTEEN_BITS.high / 2:
            return SIXTEEN_BITS
    return Levels(low, high)
