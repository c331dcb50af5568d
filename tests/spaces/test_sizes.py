"""Networks built from blocks work on images of every size, at a bounded cost."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from cnn_blocks.build import build_model, describe_model
from cnn_blocks.config import InputSpec
from cnn_blocks.errors import InfeasibleError
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial
from spaces.reference import reference_model
from spaces.sizes import input_size, pixels_at_32, reductions, stem_reductions
from spaces.task import Task

FROM_SCRATCH = (
    "activation_pooling",
    "augmentation",
    "auto",
    "blocks",
    "depth_filters",
    "dropout_l2",
    "full_cnn",
    "optimizer",
    "quickstart",
)
SHAPES = [(8, 8), (28, 28), (32, 32), (64, 64), (100, 75), (224, 224), (600, 800)]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")


def _task(shape: tuple[int, int], **fields: Any) -> Task:
    return Task(image_shape=(*shape, 3), **fields)


def _spec(task: Task) -> InputSpec:
    names = tuple(f"class {number}" for number in range(task.classes))
    return InputSpec(image_shape=task.image_shape, class_names=names)


@pytest.mark.parametrize(
    ("shape", "resized", "stem", "stages"),
    [
        ((4, 4), None, 0, 2),
        ((8, 8), None, 0, 2),
        ((28, 28), None, 0, 3),
        ((32, 32), None, 0, 3),
        ((64, 64), None, 1, 3),
        ((100, 75), None, 1, 3),
        ((224, 224), 128, 2, 3),
        ((600, 800), 128, 2, 3),
        ((1000, 8), 128, 2, 3),
        ((128, 5), None, 0, 2),
    ],
)
def test_the_stem_and_the_stages_follow_from_the_size(
    shape: tuple[int, int], resized: int | None, stem: int, stages: int
) -> None:
    task = _task(shape)

    assert (input_size(task), stem_reductions(task), reductions(task)) == (resized, stem, stages)


@pytest.mark.parametrize("name", FROM_SCRATCH)
@every_shape
def test_a_space_builds_for_every_size_and_number_of_classes(
    name: str, shape: tuple[int, int]
) -> None:
    space: Callable[..., Candidate] = getattr(
        importlib.import_module(f"spaces.shipped.{name}"), name
    )
    for classes, images in ((2, 60), (200, 20_000)):
        task = _task(shape, classes=classes, images=images)
        for strategy in ("lowest", "highest", "random"):
            candidate = space(ProbeTrial(strategy, seed=classes), task=task)
            try:
                described = describe_model(candidate.model, _spec(task))
            except InfeasibleError as error:  # for example four reductions of 8x8 pixels
                raise AssertionError(candidate.summary()) from error
            assert described.feature_map[0] >= 1
            assert candidate.training.batch_size <= max(32, images // 10)


def test_a_network_for_large_photos_is_built_and_predicts() -> None:
    task = _task((600, 800), classes=2)

    model = build_model(reference_model(task=task), _spec(task))

    assert model.output_shape == (None, 2)


@every_shape
def test_what_a_network_puts_out_is_bounded_whatever_the_size(shape: tuple[int, int]) -> None:
    task = _task(shape)
    small = describe_model(reference_model(), _spec(Task()))
    described = describe_model(reference_model(task=task), _spec(task))

    # Preprocessing is cheap, is not trained, and processes every pixel.
    trained = described.activations - described.frozen_activations
    assert trained < 2 * (small.activations - small.frozen_activations)


def test_crops_grow_with_the_images() -> None:
    sizes = [(8, 8), (28, 28), (32, 32), (64, 64), (600, 800)]

    assert [pixels_at_32(4, _task(size)) for size in sizes] == [1, 4, 4, 8, 75]
    assert pixels_at_32(0, _task((8, 8))) == 0
    assert pixels_at_32(1, _task((8, 8))) == 1
