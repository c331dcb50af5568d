"""Images that a program holds in memory, of every kind that `data` takes."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.data import Dataset, DataSource, load_data
from search.data.in_memory import store_in_memory

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def load(data: Any) -> Dataset:
    """Loads what `data` takes, as a study does."""
    return DataSource.of(data).load()


@dataclass
class Items:
    """A data set of the PyTorch kind: an index, a length, and perhaps the names of its classes."""

    items: list[Any]

    def __getitem__(self, position: int) -> Any:
        return self.items[position]

    def __len__(self) -> int:
        return len(self.items)


class Tensor:
    """A tensor of the PyTorch kind, on another device."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape = array.shape

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> Any:
        return self.array

    def __array__(self, *_: object, **__: object) -> Any:
        raise TypeError("it lies on another device")

    def __len__(self) -> int:
        return len(self.array)


def test_a_pair_of_arrays_is_the_data_of_its_content() -> None:
    once, again = store_in_memory((IMAGES, LABELS)), store_in_memory((IMAGES.copy(), list(LABELS)))
    other = store_in_memory((IMAGES[:11], LABELS[:11]))

    assert once == again != other
    dataset = load((IMAGES, LABELS))
    np.testing.assert_array_equal(dataset.arrays.development, IMAGES)
    assert dataset.class_names == ("0", "1", "2")
    assert load_data(once).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("data", "validation", "test"),
    [
        (((IMAGES[:8], LABELS[:8]), (IMAGES[8:], LABELS[8:])), 0, 4),
        (((IMAGES[:6], LABELS[:6]), (IMAGES[6:9], LABELS[6:9]), (IMAGES[9:], LABELS[9:])), 3, 3),
        ({"train": (IMAGES[:8], LABELS[:8]), "valid": (IMAGES[8:], LABELS[8:])}, 4, 0),
    ],
    ids=["train and test", "three roles", "a dictionary"],
)
def test_roles_stay_apart(data: Any, validation: int, test: int) -> None:
    arrays = load(data).arrays

    assert arrays.own_validation == validation
    assert (0 if arrays.test is None else len(arrays.test)) == test


def test_floats_in_a_list_are_read_as_any_array_is() -> None:
    dataset = load(([image / 255 for image in IMAGES], [str(label) for label in LABELS]))

    np.testing.assert_allclose(dataset.arrays.development, IMAGES, atol=1)


def test_a_dataset_of_tensors_has_its_channels_first() -> None:
    items = Items([(Tensor(image.transpose(2, 0, 1)), label) for image, label in pairs()])
    items.classes = ["cat", "dog", "owl"]  # type: ignore[attr-defined]

    dataset = load(items)

    np.testing.assert_array_equal(dataset.arrays.development, IMAGES)
    assert dataset.class_names == ("cat", "dog", "owl")


def test_pairs_of_tensors_come_from_their_device() -> None:
    dataset = load((Tensor(IMAGES), Tensor(LABELS)))

    np.testing.assert_array_equal(dataset.arrays.development_labels, LABELS)


def test_items_of_the_hugging_face_kind_name_their_classes() -> None:
    items = [{"image": Image.fromarray(image), "label": label} for image, label in pairs()]
    train, test = Items(items[:9]), Items(items[9:])
    for part in (train, test):
        names = SimpleNamespace(names=["cat", "dog", "owl"])
        part.features = {"label": names}  # type: ignore[attr-defined]

    dataset = load({"train": train, "test": test})

    assert dataset.class_names == ("cat", "dog", "owl")
    assert dataset.arrays.test is not None
    np.testing.assert_array_equal(dataset.arrays.test, IMAGES[9:])


def test_images_of_different_shapes_are_fitted_as_files_are() -> None:
    items = Items(
        [
            (Image.fromarray(image[:6] if number % 4 == 0 else image), label)
            for number, (image, label) in enumerate(pairs())
        ]
    )
    items.classes = ["cat", "dog/puppy", "owl"]  # type: ignore[attr-defined]

    dataset = load((items, items))

    assert dataset.class_names == ("cat", "dog/puppy", "owl")
    assert len(dataset.arrays.development) == 12
    assert dataset.arrays.test is not None and len(dataset.arrays.test) == 12


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (42, "received int for train"),
        (IMAGES, r"received ndarray of shape \(12, 8, 6, 3\) for train"),
        ((IMAGES, LABELS[:5]), "Every image needs one label"),
        ({"test": (IMAGES, LABELS)}, "the roles train, validation and test; received test"),
        ({"train": (IMAGES, LABELS), "extra": 1}, "received train, extra"),
        (Items([IMAGES[0]]), "an item of train is ndarray"),
        (Items([(IMAGES[0] / 255, 0), (IMAGES[1, :4], 1)]), "must be uint8; received float64"),
    ],
)
def test_anything_else_is_refused(data: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(data)


def pairs() -> list[tuple[Any, int]]:
    return list(zip(IMAGES, LABELS.tolist(), strict=True))
