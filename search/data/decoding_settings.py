"""How image files become a network's input: decided by the training images, kept with the model."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from cnn_blocks.config import Configuration
from search.data import decoding
from search.data.image_fit import Fit
from search.data.levels import SIXTEEN_BITS, Levels
from search.data.types import Images


class Decoding(Configuration):
    """Everything that decides which pixels a network sees of an image file.

    What has one value today is written down too: a version that decodes differently will know that
    a model expects something else.

    Attributes:
        size: (height, width) in pixels.
        fit: What happens to an image whose shape is not that of `size`.
        levels: The values of grey with more than 8 bits that become 0 and 255.
        frame: Of several frames or pages.
        orientation: What turns a photo upright.
        background: What transparency is laid on.
        border: What `pad` adds.
        colors: The channels, 8 bits each.
        resampling: The filter of `fit`.
    """

    format_version: Literal[1] = 1
    size: tuple[PositiveInt, PositiveInt]
    fit: Fit
    levels: Levels = SIXTEEN_BITS
    frame: Literal["first"] = "first"
    orientation: Literal["exif"] = "exif"
    background: Literal["white"] = "white"
    border: Literal["black"] = "black"
    colors: Literal["RGB"] = "RGB"
    resampling: Literal["bicubic, antialiased"] = "bicubic, antialiased"

    def decode(self, content: bytes) -> Images:
        """Decodes an image file to uint8 RGB (height, width, 3), as `decoding.decode` does."""
        return decoding.decode(content, self.size, self.levels, self.fit)
