"""What follows from the images' size: how networks reduce it, so that their cost stays bounded."""

import math

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.config import Block
from spaces.task import Task

# A stem brings images down to about this many pixels a side, where a network's work begins.
_WORKING_SIDE = 32
# Larger images are resized in front of the stem.
_LARGEST_INPUT = 128
_SMALLEST_MAP = 4
_MOST_STAGES = 3
_LEAST_STEM_FILTERS = 16


def input_size(task: Task) -> int | None:
    """Returns the side in pixels to which a network built from blocks resizes the images first."""
    return _LARGEST_INPUT if task.longest_side > _LARGEST_INPUT else None


def stem_reductions(task: Task) -> int:
    """Returns how often a stem halves the images: until about 32 pixels a side are left."""
    height, width = _input_shape(task)
    wanted = round(math.log2(math.sqrt(height * width) / _WORKING_SIDE))
    possible = int(math.log2(max(1.0, min(height, width) / _SMALLEST_MAP)))
    return max(0, min(wanted, possible))


def most_reductions(task: Task) -> int:
    """Returns how often stages behind the stem can halve the images, at least once."""
    return max(1, int(math.log2(max(1, min(_working_shape(task))))))


def reductions(task: Task) -> int:
    """Returns how many stages, each of which halves, suit the images: two or three.

    8x8 pixels become 2x2, and 32x32 pixels 4x4.
    """
    height, width = _working_shape(task)
    wanted = round(math.log2(math.sqrt(height * width))) - 1
    return min(max(2, wanted), _MOST_STAGES, most_reductions(task))


def with_stem(backbone: Staged, block: Block, *, filters: int, task: Task) -> Staged:
    """Returns a backbone behind a stem of blocks, which halves large images by strides.

    Without `filters` there is a stem only where images have to be reduced.
    """
    halvings = stem_reductions(task)
    if not filters and not halvings:
        return backbone
    stem = block.model_copy(update={"filters": filters or _LEAST_STEM_FILTERS})
    # A pooled convolution would work on every pixel of a large image first.
    front = [Stage(block=stem, reduction="stride")] * halvings
    return Staged(stages=(*(front or [Stage(block=stem, reduction="none")]), *backbone.stages))


def pixels_at_32(pixels: int, task: Task) -> int:
    """Returns pixels of a 32x32 image in those of this task's, at least one for any at all."""
    return pixels and max(1, round(pixels * min(task.image_shape[:2]) / 32))


def _input_shape(task: Task) -> tuple[int, int]:
    size = input_size(task)
    return (size, size) if size else task.image_shape[:2]


def _working_shape(task: Task) -> tuple[int, int]:
    halvings = stem_reductions(task)
    height, width = _input_shape(task)
    return height >> halvings, width >> halvings
