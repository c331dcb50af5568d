"""Grey of 16 and 32 bits: which of its values are black and white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.data.types import Images


@dataclass(frozen=True)
class Levels:
    """The values that become 0 and 255, the same ones for every image of a data set."""

    low: float
    high: float

    def as_uint8(self, values: NDArray[Any]) -> Images:
        """Scales values of any type to uint8; those outside the levels become 0 or 255.

        Raises ValueError where values are not finite.
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
    """Returns the levels of a data set whose values lie between two extremes.

    Fractions, 8 bits and 16 bits keep the range of their type. Other values are stretched from
    their own range: a sensor with 12 bits would fill a sixteenth of the 16 that store it.
    """
    if low >= 0:
        for top in (1, 255):
            if high <= top:
                return Levels(0, top)
        if high <= SIXTEEN_BITS.high and high - low > SIXTEEN_BITS.high / 2:
            return SIXTEEN_BITS
    return Levels(low, high)
