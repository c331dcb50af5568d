"""The fixed set of networks whose cost is predicted and measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from cnn_blocks.backbones.staged import Staged
from cnn_blocks.build import ModelShape, describe_model
from cnn_blocks.config import InputSpec
from cnn_blocks.errors import InfeasibleError
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial, Space
from spaces.recipes import RECIPES
from spaces.shipped.blocks import blocks
from spaces.shipped.depth_filters import depth_filters
from spaces.shipped.full_cnn import full_cnn
from spaces.shipped.hand_made import hand_made

SPACES: dict[str, tuple[Space, int]] = {
    "depth_filters": (depth_filters, 14),
    "blocks": (blocks, 16),
    "full_cnn": (full_cnn, 10),
    "hand_made": (hand_made, 10),
}
# Mostly 32x32 pixels, because few candidates of the spaces are small enough for larger images.
SIDES = (32, 32, 32, 64, 100)
BATCH_SIZES = (256, 128, 64, 32)
SMALLEST_BATCH = 8
# The approximate limit of a step, so that several steps fit into a measurement.
_STEP_SECONDS = 0.6
_SECONDS_PER_MULTIPLY = 1e-11
_SECONDS_PER_ELEMENT = 4e-9
_SEEDS = 1000


@dataclass(frozen=True)
class Case:
    """A candidate, its input specification, and its shape."""

    name: str
    candidate: Candidate
    spec: InputSpec
    shape: ModelShape


def cases() -> Iterator[Case]:
    """Yields the recipes with custom networks, then 50 candidates of the spaces."""
    for name, recipe in RECIPES.items():
        if isinstance(recipe.candidate.model.backbone, Staged):
            yield case(f"recipe {name}", recipe.candidate, side=32)
    index = 0
    for number, (name, (space, wanted)) in enumerate(SPACES.items(), start=1):
        drawn = 0
        # Different seeds per space, because two spaces make the same networks from the same draws.
        seed = number * _SEEDS
        while drawn < wanted:
            seed += 1
            side, batch_size = SIDES[index % len(SIDES)], BATCH_SIZES[index % len(BATCH_SIZES)]
            try:
                candidate = space(ProbeTrial(seed=seed)).with_training(batch_size=batch_size)
                found = case(f"{name} {seed} at {side}x{side}", candidate, side=side)
            except InfeasibleError:
                continue
            if _estimate(found.shape, SMALLEST_BATCH) > _STEP_SECONDS:
                continue
            yield found
            drawn += 1
            index += 1


def case(name: str, candidate: Candidate, *, side: int) -> Case:
    """Returns a case whose batch size is halved until a step is short enough to measure."""
    spec = InputSpec(image_shape=(side, side, 3), class_names=tuple("0123456789"))
    shape = describe_model(candidate.model, spec)
    size = candidate.training.batch_size
    while size > SMALLEST_BATCH and _estimate(shape, size) > _STEP_SECONDS:
        size //= 2
    return Case(name, candidate.with_training(batch_size=size), spec, shape)


def _estimate(shape: ModelShape, images: int) -> float:
    multiplies = shape.multiply_accumulates * _SECONDS_PER_MULTIPLY
    return images * (multiplies + shape.activations * _SECONDS_PER_ELEMENT)
