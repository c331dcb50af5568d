"""How an image of another shape comes to a data set's size: cropped, padded or stretched."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fit: TypeAlias = Literal["crop", "pad", "stretch"]

# benchmarks/image_fit.py compares the three.
DEFAULT_FIT: Fit = "crop"

# What studies and configurations of older versions had, which name none.
FORMER_FIT: Fit = "stretch"

# What happened to images of another shape, for notes.
FIT_WORDS: dict[Fit, str] = {
    "crop": "cropped around the centre (--fit pad or stretch keeps all)",
    "pad": "padded with black (--fit crop or stretch adds nothing)",
    "stretch": "stretched (--fit crop or pad keeps proportions)",
}

# A shape is the same up to the rounding of a size to whole pixels.
_ROUNDING_PIXELS = 1.0


def have_shape(heights: "NDArray[Any]", widths: "NDArray[Any]", size: tuple[int, int]) -> Any:
    """Returns, image by image, whether it keeps its proportions at `size` (height, width)."""
    height, width = size
    by_height = abs(widths * (height / heights) - width) <= _ROUNDING_PIXELS
    by_width = abs(heights * (width / widths) - height) <= _ROUNDING_PIXELS
    return by_height | by_width


def kept_share(heights: "NDArray[Any]", widths: "NDArray[Any]", size: tuple[int, int]) -> Any:
    """Returns, image by image, the share of its area that a crop to the shape of `size` keeps."""
    relative = (widths / heights) / (size[1] / size[0])
    return relative.clip(max=1) / relative.clip(min=1)
