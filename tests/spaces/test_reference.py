"""The reference training of studies suits the number and the size of the images."""

import pytest

from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec
from spaces.probe import ProbeTrial
from spaces.reference import (
    most_images_a_batch,
    reference_batch_size,
    reference_learning_rate,
    reference_model,
    reference_training,
    reference_width,
)
from spaces.task import Task
from studies.study import load_study

SHORT = Task(multiply_accumulates=1e8)
SPEC = InputSpec(image_shape=(32, 32, 3), class_names=("cat", "dog"))


@pytest.mark.parametrize(
    ("images", "size"),
    [(10, 8), (60, 8), (400, 16), (1_442, 32), (5_000, 64), (42_500, 256), (10**7, 256)],
)
def test_a_batch_follows_from_the_number_of_images(images: int, size: int) -> None:
    task = Task(images=images)

    assert reference_batch_size(task) == size
    assert reference_training(task).batch_size == size
    assert size <= max(8, images // 10)


def test_the_rate_follows_from_the_batch() -> None:
    assert reference_learning_rate(64) == 0.01
    assert reference_learning_rate(256) == 0.02
    assert reference_training(Task(images=5_000)).learning_rate == 0.01
    assert reference_training(Task(images=5_000), batch_size=256).learning_rate == 0.02
    assert reference_training(Task(images=5_000), learning_rate=0.1).learning_rate == 0.1


def test_no_image_is_mirrored_unasked() -> None:
    augmentation = reference_training(Task(image_shape=(64, 64, 3))).augmentation

    assert not augmentation.horizontal_flip
    assert augmentation.crop_padding == 8


@pytest.mark.parametrize(("images", "most"), [(10, 32), (1_000, 100), (50_000, 512)])
def test_the_largest_batch_is_a_tenth_of_the_images(images: int, most: int) -> None:
    assert most_images_a_batch(Task(images=images)) == most


def test_a_short_training_gets_a_narrow_network() -> None:
    assert reference_width(SHORT) == {"filters": 32, "stem_filters": 0}
    assert reference_width(Task(multiply_accumulates=1e10)) == reference_width(Task())

    wide, narrow = (describe_model(reference_model(task=one), SPEC) for one in (Task(), SHORT))

    assert narrow.multiply_accumulates < wide.multiply_accumulates / 3


@pytest.mark.parametrize(
    "name", ["auto", "depth_filters", "full_cnn", "blocks", "dropout_l2", "homebrew_or_transfer"]
)
def test_studies_of_networks_from_scratch_start_narrow_in_little_time(name: str) -> None:
    study = load_study(name).spec

    def cost(task: Task) -> int:
        trial = ProbeTrial(wanted=study.first_trials(task)[0])
        return describe_model(study.candidate(trial, task).model, SPEC).multiply_accumulates

    assert cost(SHORT) < cost(Task()) / 2
