"""Arrays of every valid kind load; other arrays get an error that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cnn_blocks.errors import UserError
from search.data import Dataset, load_data, split_data
from search.data.levels import Levels

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.tile(np.arange(3), 4)


def load(folder: Path, **arrays: NDArray[Any]) -> Dataset:
    np.savez(folder / "images.npz", **arrays)  # type: ignore[arg-type]
    return load_data(folder / "images.npz")


def test_train_and_test_arrays(tmp_path: Path) -> None:
    dataset = load(
        tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:3] // 2, y_test=LABELS[:3]
    )
    assert dataset.name == "images"
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.image_shape == (6, 5, 3)
    assert dataset.leaked_images == 0
    np.testing.assert_array_equal(dataset.arrays.development, IMAGES)
    assert dataset.arrays.test is not None
    np.testing.assert_array_equal(dataset.arrays.test, IMAGES[:3] // 2)


def test_a_validation_pair_is_the_validation_share(tmp_path: Path) -> None:
    dataset = load(
        tmp_path, x_train=IMAGES, y_train=LABELS, x_val=255 - IMAGES[:6], y_val=LABELS[:6]
    )
    assert split_data(dataset, seed=0).validation.indices.tolist() == list(range(12, 18))


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.astype(np.float32) / 255,
        IMAGES.astype(np.float64),
        IMAGES.astype(np.int64),
        IMAGES[..., :3].astype(np.uint16),
        np.concatenate([IMAGES, np.full((12, 6, 5, 1), 255, np.uint8)], axis=3),
    ],
)
def test_pixel_types_agree(tmp_path: Path, images: NDArray[Any]) -> None:
    dataset = load(tmp_path, x_train=images, y_train=LABELS)
    np.testing.assert_array_equal(dataset.arrays.development, IMAGES)


@pytest.mark.parametrize("images", [IMAGES[..., 0], IMAGES[..., :1]])
def test_grey_images(tmp_path: Path, images: NDArray[Any]) -> None:
    dataset = load(tmp_path, x_train=images, y_train=LABELS)
    np.testing.assert_array_equal(dataset.arrays.development, np.repeat(IMAGES[..., :1], 3, axis=3))


def test_a_dark_test_image_is_scaled_as_the_training_images(tmp_path: Path) -> None:
    dark = np.ones((3, 6, 5, 3), np.float32)
    dataset = load(
        tmp_path, x_train=IMAGES.astype(float), y_train=LABELS, x_test=dark, y_test=LABELS[:3]
    )
    assert dataset.arrays.test is not None
    assert (dataset.arrays.test == 1).all()


@pytest.mark.parametrize(
    "name", ["X_{role}", "{role}_images", "{role}X", "{role}_data", "{Role}-Image", "x_{role}"]
)
def test_arrays_by_other_names(tmp_path: Path, name: str) -> None:
    labels = "Labels_{role}" if "mage" in name else "{role}_y"
    parts = {"train": slice(None), "val": slice(6), "test": slice(3)}
    dataset = load(
        tmp_path,
        **{
            kind.format(role=role, Role=role.title()): array[rows]
            for role, rows in parts.items()
            for kind, array in ((name, IMAGES), (labels, LABELS[:, None]))
        },
    )
    assert dataset.images == 21
    assert dataset.arrays.own_validation == 6


def test_other_arrays_do_not_matter(tmp_path: Path) -> None:
    dataset = load(
        tmp_path, x_train=IMAGES, y_train=LABELS, labels=np.array(["a"]), ids=np.arange(12)
    )
    np.testing.assert_array_equal(dataset.arrays.development, IMAGES)


def test_images_and_labels_without_a_role_are_divided(tmp_path: Path) -> None:
    dataset = load(tmp_path, images=IMAGES, labels=LABELS, class_names=np.array(["a", "b", "c"]))
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.arrays.test is None


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_integers_of_more_than_8_bits_are_scaled_by_the_training_range(
    tmp_path: Path, dtype: type
) -> None:
    deep: NDArray[Any] = IMAGES.astype(dtype) * 16
    dataset = load(tmp_path, x_train=deep, y_train=LABELS, x_test=deep[:3] * 2, y_test=LABELS[:3])
    low, high = deep.min(), deep.max()
    expected = np.rint((deep.astype(float) - low) * 255 / (high - low))
    np.testing.assert_array_equal(dataset.arrays.development, expected)
    assert dataset.arrays.test is not None
    assert dataset.arrays.test.max() == 255
    assert dataset.notes[0] == (
        f"The values {low} to {high} of x_train were scaled to 0 to 255, the same in all roles."
    )
    # Also on a load from the cache: image files with such values are decoded with these levels.
    assert load_data(tmp_path / "images.npz").decoding.levels == Levels(low, high)


@pytest.mark.parametrize(
    ("train", "test", "found"),
    [
        (IMAGES, IMAGES / 255, r"x_test \(float64\) goes up to 1, and x_train goes up to 255"),
        (IMAGES.astype(float), (IMAGES / 255).astype(np.float32), r"x_test \(float32\)"),
        (IMAGES.astype(np.uint16) * 257, IMAGES, r"x_test \(uint8\) goes up to 255, and x_train"),
    ],
)
def test_roles_in_different_ranges(
    tmp_path: Path, train: NDArray[Any], test: NDArray[Any], found: str
) -> None:
    with pytest.raises(UserError, match=rf"same range; {found}.* Fix: scale both"):
        load(tmp_path, x_train=train, y_train=LABELS, x_test=test, y_test=LABELS)


def test_bytes_beside_fractions_are_clear(tmp_path: Path) -> None:
    dataset = load(
        tmp_path, x_train=IMAGES / 255, y_train=LABELS, x_test=IMAGES[:3] // 2, y_test=LABELS[:3]
    )
    np.testing.assert_array_equal(dataset.arrays.development, IMAGES)
    np.testing.assert_array_equal(dataset.arrays.test, IMAGES[:3] // 2)


def test_labels_as_a_column_strings_or_with_names(tmp_path: Path) -> None:
    column = load(tmp_path, x_train=IMAGES, y_train=LABELS[:, None])
    assert column.arrays.development_labels.tolist() == LABELS.tolist()
    words = np.array(["cat", "dog", "ant"])[LABELS]
    named = load(tmp_path, x_train=IMAGES, y_train=words)
    assert named.class_names == ("ant", "cat", "dog")
    assert named.arrays.development_labels[:3].tolist() == [1, 2, 0]
    given = load(
        tmp_path, x_train=IMAGES, y_train=LABELS, class_names=np.array(["cat", "dog", "ant"])
    )
    assert given.class_names == ("cat", "dog", "ant")
    assert given.arrays.development_labels.tolist() == LABELS.tolist()


def test_a_test_part_without_a_class_gets_a_note(tmp_path: Path) -> None:
    dataset = load(
        tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2] // 2, y_test=LABELS[:2]
    )
    assert dataset.notes == ("y_test holds no image of class '2'.",)


def test_resizing(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x_train=IMAGES, y_train=LABELS)
    dataset = load_data(tmp_path / "images.npz", image_size=8)
    assert dataset.image_shape == (8, 8, 3)
    assert dataset.notes[0].startswith("All images were resized from 6x5 to 8x8 pixels")
    assert "8x8 pixels (height x width), cropped around the centre" in dataset.notes[0]
    assert (dataset.decoding.size, dataset.decoding.fit) == ((8, 8), "crop")
    stretched = load_data(tmp_path / "images.npz", image_size=8, fit="stretch")
    assert stretched.fingerprint != dataset.fingerprint
    assert dataset.arrays.development_files is None


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    before = load(tmp_path, x_train=IMAGES, y_train=LABELS)
    again = load(tmp_path, x_train=IMAGES, y_train=LABELS)
    after = load(tmp_path, x_train=255 - IMAGES, y_train=LABELS)
    assert again.fingerprint == before.fingerprint
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": IMAGES}, "lacks y_train and holds x_train"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES}, "lacks y_test"),
        (
            {"x_train": IMAGES, "train_images": IMAGES, "y_train": LABELS},
            "one array of train images; .* has x_train and train_images",
        ),
        ({"x_train": IMAGES, "y_train": LABELS - 1}, "must start at 0; y_train holds -1"),
        ({"x_train": IMAGES, "y_train": LABELS + 1}, "never holds class '0' of 4 classes"),
        ({"x_train": IMAGES, "y_train": LABELS * 10}, "numbers 21 classes with 12 images"),
        ({"x_train": IMAGES, "y_train": LABELS * 0}, "at least two classes"),
        ({"x_train": IMAGES, "y_train": LABELS / 2}, "must be integers or strings"),
        ({"x_train": IMAGES, "y_train": np.eye(3)[LABELS]}, r"labels\.argmax\(axis=1\)"),
        (
            {"x_train": IMAGES, "y_train": LABELS[:5]},
            "12 images and y_train has 5 labels. Fix: give",
        ),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "x_train is empty. Fix: add"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2] + 9},
            r"Labels must lie in 0\.\.2 for 3 classes; y_test holds 10",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "class_names": np.array(["a", "b"])},
            r"Labels must lie in 0\.\.1 for 2 classes; y_train holds 2",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "class_names": np.array(["a", "b", "a"])},
            "Class names must be unique; received a, b, a. Fix: rename",
        ),
        (
            {
                "x_train": IMAGES,
                "y_train": np.array(["a", "b", "c"])[LABELS],
                "x_test": IMAGES[:1],
                "y_test": np.array(["z"]),
            },
            "only classes of the training images; received 'z'",
        ),
        (
            {
                "x_train": IMAGES,
                "y_train": LABELS,
                "x_test": IMAGES[:3, :4],
                "y_test": LABELS[:3],
            },
            "must have the same size; .* Fix: resize",
        ),
        ({"x_train": IMAGES / 255 - 0.5, "y_train": LABELS}, "Fix: undo any standardisation"),
        ({"x_train": IMAGES * 2.0, "y_train": LABELS}, "x_train holds .* to "),
        ({"x_train": IMAGES * np.nan, "y_train": LABELS}, "x_train holds nan"),
        ({"x_train": IMAGES.astype(str), "y_train": LABELS}, "Pixels must be numbers"),
        ({"x_train": IMAGES.transpose(0, 3, 1, 2), "y_train": LABELS}, "channels last"),
        (
            {"x_train": IMAGES.reshape(12, -1), "y_train": LABELS},
            r"has shape \(12, 90\)\. Fix: restore the image shape",
        ),
        (
            {"x_train": IMAGES.transpose(1, 2, 3, 0), "y_train": LABELS},
            r"Here the image axis is last: use images\.transpose\(3, 0, 1, 2\)",
        ),
    ],
)
def test_illegal_arrays(tmp_path: Path, arrays: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, **arrays)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="readable without pickle"):
        load(tmp_path, x_train=np.array([object()]), y_train=LABELS)


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "images.npz").write_bytes(b"not a zip")
    with pytest.raises(UserError, match=r"images\.npz is not"):
        load_data(tmp_path / "images.npz")


@pytest.mark.parametrize("named", [False, True])
def test_class_names_in_bytes_are_utf8(tmp_path: Path, named: bool) -> None:
    names = np.array(["caf\u00e9".encode(), b"nut", b"tea"])
    more = {"class_names": names} if named else {}
    dataset = load(tmp_path, x_train=IMAGES, y_train=LABELS if named else names[LABELS], **more)
    assert dataset.class_names == ("caf\u00e9", "nut", "tea")


@pytest.mark.parametrize("name", [b"caf\xe9", "caf\udce9"])
def test_class_names_that_are_not_utf8(tmp_path: Path, name: bytes | str) -> None:
    names = np.array([name, type(name)(), type(name)()])
    with pytest.raises(UserError, match="must be UTF-8 text; y_train holds a name that is not"):
        load(tmp_path, x_train=IMAGES, y_train=names[LABELS])
