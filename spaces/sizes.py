"""How networks downsample images of different sizes, so that their cost stays bounded."""

import math

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.config import Block
from spaces.task import Task

# A stem downsamples images to about this many pixels per side.
_WORKING_SIDE = 32
# Larger images are resized before the stem.
_LARGEST_INPUT = 128
_SMALLEST_MAP = 4
_MOST_STAGES = 3
_LEAST_STEM_FILTERS = 16


def input_size(task: Task) -> int | None:
    """Returns the side in pixels to which a network first resizes the images; None to keep them."""
    return _LARGEST_INPUT if task.longest_side > _LARGEST_INPUT else None


def stem_reductions(task: Task) -> int:
    """Returns how often a stem halves the images to leave about 32 pixels per side."""
    height, width = _input_shape(task)
    wanted = round(math.log2(math.sqrt(height * width) / _WORKING_SIDE))
    possible = int(math.log2(max(1.0, min(height, width) / _SMALLEST_MAP)))
    return max(0, min(wanted, possible))


def most_reductions(task: Task) -> int:
    """Returns how often the stages after the stem can halve the images, at least once."""
    return max(1, int(math.log2(max(1, min(_working_shape(task))))))


def reductions(task: Task) -> int:
    """Returns the number of halving stages that suit the images: two or three.

    8x8 pixels become 2x2, and 32x32 pixels become 4x4.
    """
    height, width = _working_shape(task)
    wanted = round(math.log2(math.sqrt(height * width))) - 1
    return min(max(2, wanted), _MOST_STAGES, most_reductions(task))


def with_stem(backbone: Staged, block: Block, *, filters: int, task: Task) -> Staged:
    """Returns a backbone with a stem of blocks in front, which halves large images with strides.

    If `filters` is 0, there is a stem only if the images must be downsampled.
    """
    halvings = stem_reductions(task)
    if not filters and not halvings:
        return backbone
    stem = block.model_copy(update={"filters": filters or _LEAST_STEM_FILTERS})
    # With pooling, the convolution would first process every pixel of a large image.
    front = [Stage(block=stem, reduction="stride")] * halvings
    return Staged(stages=(*(front or [Stage(block=stem, reduction="none")]), *backbone.stages))


def pixels_at_32(pixels: int, task: Task) -> int:
    """Scales pixels of a 32x32 image to this task's images; at least 1 if `pixels` is not 0."""
    return pixels and max(1, round(pixels * min(task.image_shape[:2]) / 32))


def _input_shape(task: Task) -> tuple[int, int]:
    size = input_size(task)
    return (size, size) if size else task.image_shape[:2]


def _working_shape(task: Task) -> tuple[int, int]:
    halvings = stem_reductions(task)
    height, width = _input_shape(task)
    return height >> halvings, width >> halvings
