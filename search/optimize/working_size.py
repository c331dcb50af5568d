"""The size to load images at: as large as the time allows, usually at most 64 pixels."""

from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec
from cnn_blocks.errors import InfeasibleError
from search.sizing.cost import predict_cost
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import cost_passes, default_candidate
from spaces.task import Task
from studies.study import StudySpec

# Longest sides in pixels. 64 is enough to tell most photos apart; more only pays with much time.
_SIDES = (32, 48, 64, 96, 128, 160, 192, 224)
_USUAL_SIDE = 64
# How often the default network must be able to see each image: a larger size is chosen only if it
# still sees them this often, and a smaller size if it would see them less often than this.
_PASSES_TO_GROW = 100.0
_PASSES_TO_SHRINK = 15.0
# About the part of the time that the final training gets.
_TRAINING_PART = 0.6


def working_size(
    spec: StudySpec,
    inputs: InputSpec,
    *,
    images: int,
    speed: MachineSpeed,
    usable_seconds: float,
) -> tuple[int, int] | None:
    """Returns (height, width) in pixels to load images at; None for their own size.

    A study keeps the images' own size if it has pretrained backbones, which need larger images and
    resize them, or if its space does not adapt to the task.
    """
    height, width = inputs.image_shape[:2]
    longest = max(height, width)
    if spec.backbones or not spec.adapts or longest <= _USUAL_SIDE:
        return None

    def passes(side: int) -> float:
        shape = (*_scaled(height, width, side), 3)
        task = Task(image_shape=shape, classes=inputs.classes, images=images)
        scaled = inputs.model_copy(update={"image_shape": shape})
        try:
            candidate = default_candidate(spec, task)
            described = describe_model(candidate.model, scaled)
        except InfeasibleError:
            return 0.0
        cost = predict_cost(described, candidate.training, speed, images=images)
        return cost_passes(cost, _TRAINING_PART * usable_seconds, images)

    sides = [side for side in _SIDES if side < longest] + [longest]
    chosen = _USUAL_SIDE
    while chosen > sides[0] and passes(chosen) < _PASSES_TO_SHRINK:
        chosen = sides[sides.index(chosen) - 1]
    while chosen >= _USUAL_SIDE and chosen < longest:
        larger = sides[sides.index(chosen) + 1]
        if passes(larger) < _PASSES_TO_GROW:
            break
        chosen = larger
    return None if chosen == longest else _scaled(height, width, chosen)


def _scaled(height: int, width: int, side: int) -> tuple[int, int]:
    """Returns (height, width) scaled so that the longer side is `side` pixels."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
