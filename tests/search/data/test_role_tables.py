"""val/ and test/ without class folders, with their labels in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnn_blocks.errors import UserError
from search.data import load_data
from tests.search.data.conftest import MakeFolder
from tests.search.data.test_class_folders import roles_of

CLASSES = {"train/cat/images": 3, "train/dog/images": 3, "val/images": 3}


def write_table(root: Path, place: str, rows: str) -> None:
    (root / place).write_text(rows.replace("/", "\t"))


@pytest.mark.parametrize("place", ["val/val_annotations.txt", "val/labels.csv", "val.csv"])
@pytest.mark.parametrize(
    "rows",
    [
        "0000.png/cat/0/32\n0002.png/dog/5/9\n0001.png/cat/0/0\n",  # Tiny ImageNet's table
        "width/file/what\n3/0000/cat\n3/0001/cat\n4/0002/dog\n",
    ],
)
def test_validation_labels_in_a_table(make_folder: MakeFolder, place: str, rows: str) -> None:
    root = make_folder(CLASSES)
    write_table(root, place, rows)
    dataset = load_data(root)
    assert roles_of(dataset) == (6, 3, 0)
    assert dataset.arrays.development_labels.tolist()[6:] == [0, 0, 1]
    assert f"The labels of val/ come from {place}." in dataset.notes


@pytest.mark.parametrize(
    "rows",
    [
        "file/label\n0000/cow\n0001/cat\n",  # not a class of the training images
        "file/label\nelsewhere/cat\n",
        "id\n0000\n0001\n0002\n",
    ],
)
def test_tables_that_give_no_labels(make_folder: MakeFolder, rows: str) -> None:
    root = make_folder(CLASSES)
    write_table(root, "val.csv", rows)
    dataset = load_data(root)
    assert roles_of(dataset) == (6, 0, 0)
    assert dataset.notes == ("val/ was left out: 3 images without labels.",)


def test_images_that_the_table_does_not_list(make_folder: MakeFolder) -> None:
    root = make_folder(CLASSES)
    write_table(root, "val.csv", "file/label\n0000/cat\n0001/dog\n")
    dataset = load_data(root)
    assert roles_of(dataset) == (6, 2, 0)
    assert dataset.notes[-1] == (
        "1 images of val/ were left out because the table does not list them."
    )
    write_table(root, "val.csv", "file/label\n0000/cat\n0000/dog\n")
    with pytest.raises(UserError, match="Every image needs one label"):
        load_data(root)
