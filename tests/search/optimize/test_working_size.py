"""The size to load images at."""

import pytest

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.optimize.working_size import working_size
from search.sizing.machine_speed import MachineSpeed
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged
from spaces.suggest import Trial
from spaces.task import Task
from studies.study import StudySpec
from tests.search.conftest import tiny_space


def adapting(trial: Trial, *, task: Task = Task()) -> Candidate:
    """Suggests filters; the reduction does not depend on the image size."""
    backbone = staged(
        Plain(),
        filters=[trial.suggest_int("filters", 15, 16), 32],
        depth=1,
        reduction="max",
        place="last",
        dropout=[0.0, 0.0],
    )
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()), training=TrainingConfig(batch_size=64)
    )


STUDY = StudySpec(name="adapting", description="Filters.", space=adapting)


def size_of(
    shape: tuple[int, int],
    speed: MachineSpeed,
    *,
    spec: StudySpec = STUDY,
    seconds: float = 600.0,
    images: int = 2000,
) -> tuple[int, int] | None:
    inputs = InputSpec(image_shape=(*shape, 3), class_names=("cat", "dog"))
    return working_size(spec, inputs, images=images, speed=speed, usable_seconds=seconds)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (64, 64), (20, 64)])
@pytest.mark.parametrize("seconds", [10.0, 100_000.0])
def test_small_images_keep_their_size(
    shape: tuple[int, int], seconds: float, speed: MachineSpeed
) -> None:
    assert size_of(shape, speed, seconds=seconds) is None


def test_a_space_that_does_not_adapt_keeps_the_images_size(speed: MachineSpeed) -> None:
    fixed = STUDY.model_copy(update={"space": tiny_space})

    assert size_of((500, 375), speed, spec=fixed) is None


def test_the_size_grows_with_the_time_up_to_the_original(speed: MachineSpeed) -> None:
    sizes = [size_of((400, 400), speed, seconds=10.0**power) for power in range(7)]

    sides = [400 if size is None else size[0] for size in sizes]
    assert sides == sorted(sides)
    assert sides[0] == 32
    assert 64 in sides
    assert sides[-1] == 400


def test_more_images_in_the_same_time_give_a_smaller_size(speed: MachineSpeed) -> None:
    few, many = (size_of((600, 800), speed, images=images) for images in (100, 100_000))

    assert few is not None and many is not None
    assert max(many) < max(few)


def test_photos_keep_their_proportions(speed: MachineSpeed) -> None:
    size = size_of((375, 500), speed, images=100_000, seconds=600.0)

    assert size is not None
    height, width = size
    assert height == round(width * 375 / 500)
