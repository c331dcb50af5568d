"""How images with another aspect ratio are fitted: cropped, padded or stretched."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fit: TypeAlias = Literal["crop", "pad", "stretch"]

# benchmarks/image_fit.py compares the three.
DEFAULT_FIT: Fit = "crop"

# The fit of studies and configurations of older versions, which store none.
FORMER_FIT: Fit = "stretch"

# What happened to images with another aspect ratio, for notes.
FIT_WORDS: dict[Fit, str] = {
    "crop": "cropped around the centre (--fit pad or stretch keeps everything)",
    "pad": "padded with black (--fit crop or stretch adds nothing)",
    "stretch": "stretched (--fit crop or pad keeps proportions)",
}

# Aspect ratios are equal up to the rounding of a size to whole pixels.
_ROUNDING_PIXELS = 1.0


def have_shape(heights: "NDArray[Any]", widths: "NDArray[Any]", size: tuple[int, int]) -> Any:
    """Returns for each image whether it keeps its aspect ratio at `size` (height, width)."""
    height, width = size
    by_height = abs(widths * (height / heights) - width) <= _ROUNDING_PIXELS
    by_width = abs(heights * (width / widths) - height) <= _ROUNDING_PIXELS
    return by_height | by_width


def kept_share(heights: "NDArray[Any]", widths: "NDArray[Any]", size: tuple[int, int]) -> Any:
    """Returns for each image the fraction of its area that a crop to `size`'s shape keeps."""
    relative = (widths / heights) / (size[1] / size[0])
    return relative.clip(max=1) / relative.clip(min=1)
