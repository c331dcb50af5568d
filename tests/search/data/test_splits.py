"""Splits are stratified and reproducible, and every opening of the test subset is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.errors import UserError
from search.data import Dataset, Split, load_data, split_data
from search.data.description import describe_images
from tests.search.data.conftest import MakeFolder


@pytest.fixture
def dataset(make_folder: MakeFolder) -> Dataset:
    return load_data(make_folder({"cat": 40, "dog": 80}))


def opened(split: Split) -> set[int]:
    return set(split.open_test("test", lambda _: None).indices.tolist())


def test_roles_are_disjoint_complete_and_stratified(dataset: Dataset) -> None:
    split = split_data(dataset, seed=3, validation_fraction=0.2, test_fraction=0.1)
    train, validation = set(split.train.indices), set(split.validation.indices)
    test = opened(split)
    assert train | validation | test == set(range(120))
    assert len(train) + len(validation) + len(test) == 120
    assert set(split.development.indices) == train | validation
    assert split.train.class_counts(2).tolist() == [28, 56]
    assert split.validation.class_counts(2).tolist() == [8, 16]
    assert split.fractions == {"validation": 0.2, "test": 0.1}


def test_a_seed_gives_the_same_split_everywhere(dataset: Dataset) -> None:
    split = split_data(dataset, seed=0)
    assert split_data(dataset, seed=0).sha256 == split.sha256
    assert split_data(dataset, seed=1).sha256 != split.sha256
    # Stored studies contain this value: it must not change with NumPy or the platform.
    assert split.sha256 == "35b6f5eeabbb341a03a275d0184032ff667c53987cc1797396156db4ea54b81c"


def test_identical_images_stay_together(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 10, "dog": 10})
    for folder in ("cat", "dog"):
        for path in sorted((root / folder).glob("*.png")):
            for copy in range(3):
                (path.with_name(f"{path.stem}-{copy}.png")).write_bytes(path.read_bytes())
    dataset = load_data(root)
    for seed in range(10):
        split = split_data(dataset, seed=seed)
        groups = dataset.arrays.groups
        parts = [
            set(groups[split.train.indices]),
            set(groups[split.validation.indices]),
            set(groups[sorted(opened(split))]),
        ]
        assert all(parts)
        assert sum(map(len, parts)) == 20


@pytest.mark.parametrize(("images", "enough"), [(3, True), (2, False)])
def test_every_class_needs_an_image_in_every_role(
    make_folder: MakeFolder, images: int, enough: bool
) -> None:
    dataset = load_data(make_folder({"cat": images, "dog": 30}))
    if enough:
        split = split_data(dataset, seed=0)
        assert split.train.class_counts(2)[0] == split.validation.class_counts(2)[0] == 1
    else:
        with pytest.raises(UserError, match=r"at least 3 distinct images.*'cat' has 2"):
            split_data(dataset, seed=0)


def test_own_test_images_leave_the_rest_for_validation(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 20, "train/dog": 20, "test/cat": 5, "test/dog": 5})
    split = split_data(load_data(root), seed=0)
    assert (len(split.train), len(split.validation)) == (34, 6)
    assert len(opened(split)) == 10
    assert split.fractions == {"validation": 0.15}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"validation_fraction": 0.0}, "validation fraction must lie between 0 and 1"),
        ({"test_fraction": 1.5}, "test fraction must lie between 0 and 1"),
        ({"validation_fraction": 0.6, "test_fraction": 0.4}, "must leave images for training"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_illegal_arguments(dataset: Dataset, fractions: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_data(dataset, **{"seed": 0, **fractions})


def test_the_test_share_opens_after_it_is_recorded(dataset: Dataset) -> None:
    split = split_data(dataset, seed=0)
    recorded: list[dict[str, Any]] = []
    test = split.open_test("final evaluation", recorded.append)
    assert len(test) == 18
    assert recorded == split.openings
    assert recorded[0]["purpose"] == "final evaluation"
    assert recorded[0]["images"] == 18
    assert "T" in recorded[0]["time"]

    def full_disk(_: dict[str, Any]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        split.open_test("again", full_disk)
    assert len(split.openings) == 1


def test_indices_are_saved(dataset: Dataset, tmp_path: Path) -> None:
    split = split_data(dataset, seed=0)
    path = tmp_path / "new" / "split.npz"
    split.save_indices(path)
    with np.load(path) as stored:
        assert sorted(stored.files) == ["test", "train", "validation"]
        np.testing.assert_array_equal(stored["train"], split.train.indices)
    assert list(path.parent.iterdir()) == [path]


def test_gather_returns_copies_of_the_right_images(dataset: Dataset) -> None:
    subset = split_data(dataset, seed=0).validation
    positions = np.array([5, 0, 5])
    images, labels = subset.gather(positions)
    assert images.dtype == np.uint8
    assert images.flags.owndata
    np.testing.assert_array_equal(images, subset.images[subset.indices[[5, 0, 5]]])
    np.testing.assert_array_equal(labels, subset.labels[subset.indices[[5, 0, 5]]])
    assert subset.gather(slice(0, 4))[0].shape == (4, 8, 10, 3)


def test_the_spec_describes_the_training_share(dataset: Dataset) -> None:
    split = split_data(dataset, seed=0)
    pixels = split.train.gather(slice(None))[0] / 255
    assert split.spec.image_shape == (8, 10, 3)
    assert split.spec.class_names == ("cat", "dog")
    np.testing.assert_allclose(split.spec.channel_mean, pixels.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(split.spec.channel_deviation, pixels.std(axis=(0, 1, 2)))
    assert split.development_spec.channel_mean != split.spec.channel_mean


def test_images_of_one_colour_have_a_positive_deviation(tmp_path: Path) -> None:
    images = np.repeat(np.arange(8, dtype=np.uint8), 16).reshape(8, 4, 4, 1)
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    black = np.concatenate([images, images * 0, images * 0], axis=3)
    np.savez(tmp_path / "dark.npz", x_train=black, y_train=labels)
    split = split_data(load_data(tmp_path / "dark.npz"), seed=0)
    assert min(split.spec.channel_deviation) > 0


def test_fewer_images_keep_the_roles_and_the_classes_in_proportion(dataset: Dataset) -> None:
    split = split_data(dataset, seed=3, validation_fraction=0.2, test_fraction=0.1)

    fewer = split.with_fewer_images(54)

    assert set(fewer.train.indices) < set(split.train.indices)
    assert set(fewer.validation.indices) < set(split.validation.indices)
    assert fewer.train.class_counts(2).tolist() == [14, 28]
    assert fewer.validation.class_counts(2).tolist() == [4, 8]
    assert set(fewer.development.indices) == {*fewer.train.indices, *fewer.validation.indices}
    assert opened(fewer) == opened(split)
    assert fewer.sha256 != split.sha256
    again = split_data(dataset, seed=3, validation_fraction=0.2, test_fraction=0.1)
    assert again.with_fewer_images(54).sha256 == fewer.sha256
    assert split.with_fewer_images(108) is split


def test_a_split_says_its_classes_and_roles(make_folder: MakeFolder) -> None:
    few = split_data(load_data(make_folder({"cat": 10, "dog\n": 20})), seed=0)

    assert few.notes[0] == (
        r"2 classes (cat 8, dog\n 17): 20 images for training, 5 for validation; "
        "5 more for the test"
    )


def test_of_many_classes_the_largest_and_smallest_are_named() -> None:
    described = describe_images(
        [f"c{number}" for number in range(12)],
        np.arange(1000, 1012),
        train=9_000,
        validation=3_066,
        test=0,
    )

    assert described == (
        "12 classes (c11 1,011, c10 1,010, c9 1,009, ... c2 1,002, c1 1,001, c0 1,000): 9,000 "
        "images for training, 3,066 for validation; 0 more for the test"
    )
