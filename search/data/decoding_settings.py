"""How image files become network input: chosen from the training images, saved with the model."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from cnn_blocks.config import Configuration
from search.data import decoding
from search.data.image_fit import Fit
from search.data.levels import SIXTEEN_BITS, Levels
from search.data.types import Images


class Decoding(Configuration):
    """Everything that determines which pixels a network receives from an image file.

    Fields with a single value are stored too: a later version that decodes differently can then
    tell what a model expects.

    Attributes:
        size: (height, width) in pixels.
        fit: How an image with another aspect ratio is fitted to `size`.
        levels: The values of greyscale with more than 8 bits that map to 0 and 255.
        frame: The frame or page used if there are several.
        orientation: The metadata that rotates a photo upright.
        background: The colour behind transparent pixels.
        border: The colour that `pad` adds.
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
