"""Folders that look like classes but are not: masks, parts, roles inside, copies."""

from __future__ import annotations

import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.data import load_data
from tests.search.data.conftest import MakeFolder


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["images", "masks"], r"masks or annotations are not classes; .*holds images/, masks/"),
        (["train/images", "train/labels"], r"are not classes; .*photos/train holds"),
        (["JPEGImages", "SegmentationClass", "extra"], "masks or annotations are not classes"),
        (
            ["images/cat", "images/dog", "annotations/trimaps"],
            r"masks or annotations are not classes.* Did you mean .*photos/images\?",
        ),
        (["HAM_images_part_1", "HAM_images_part_2"], "Numbered parts of a data set"),
        (["train/fold1", "train/fold2"], "Numbered parts of a data set.* add --layout classes"),
        (
            ["data/data/train/a", "data/data/test/a", "large/large/a", "large/large/b"],
            r"not contain role folders; .*data/data holds .* Did you mean .*photos/data/data\?",
        ),
        (
            ["prueba/a", "prueba/b", "entrenamiento/a", "entrenamiento/b"],
            r"Each of entrenamiento/, prueba/ .* holds a/, b/\. .* rename them to train/ and test/",
        ),
        (["photo/0", "photo/1", "sketch/0", "sketch/1"], "Each of photo/, sketch/ .* holds 0/, 1/"),
        (
            ["amazon/images/mug", "amazon/images/bike", "dslr/images/mug", "dslr/images/bike"],
            r"give one of the outer folders, such as .*photos/amazon/images",
        ),
    ],
)
def test_folders_that_are_no_classes(
    make_folder: MakeFolder, folders: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_data(make_folder(dict.fromkeys(folders, 2)))


@pytest.mark.parametrize(
    "folders",
    [
        ["with_mask", "without_mask"],
        ["mask", "no mask"],
        ["apple 1", "apple 2"],
        ["1", "2"],
        ["cat/images", "dog/images"],  # Tiny ImageNet
        ["cat/left", "cat/right", "dog/left"],
        ["cat/batch1", "cat/batch2", "dog/batch1", "dog/batch2"],
        ["benign/40X", "benign/100X", "malignant/40X", "malignant/100X"],
    ],
)
def test_folders_that_are_classes(make_folder: MakeFolder, folders: list[str]) -> None:
    dataset = load_data(make_folder(dict.fromkeys(folders, 3)))
    assert dataset.class_names == tuple(sorted({folder.split("/")[0] for folder in folders}))
    assert dataset.notes == ()


def test_a_copy_of_the_data_set_is_no_class(make_folder: MakeFolder) -> None:
    root = make_folder({"no": 3, "yes": 3, "brain/scans/no": 3, "brain/scans/yes": 3})
    dataset = load_data(root)
    assert dataset.class_names == ("no", "yes")
    assert dataset.notes == (
        "brain/ was left out: its subfolders have the names of the folders next to it, so it is "
        "probably a copy (6 images).",
    )


def test_images_to_be_predicted_are_no_class(make_folder: MakeFolder) -> None:
    dataset = load_data(make_folder({"no": 3, "yes": 3, "pred": 2}))
    assert dataset.class_names == ("no", "yes")
    assert dataset.notes == ("pred/ was left out: 2 images without labels.",)
    with pytest.raises(UserError, match="holds only images of 'yes'"):
        load_data(make_folder({"yes": 3, "pred": 2}, name="more"))


def test_masks_beside_their_images_are_left_out(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 2, "test/dog": 2})
    for path in ("train/cat/0000_mask.png", "train/cat/0000_mask_1.png", "test/dog/0001-MASK.png"):
        Image.new("L", (10, 8)).save(root / path)
    Image.new("L", (10, 8)).save(root / "train" / "dog" / "gas_mask.png")
    dataset = load_data(root)
    assert dataset.images == 11
    assert dataset.notes == ("3 segmentation masks were left out.",)


def test_masks_in_each_class_are_left_out(make_folder: MakeFolder) -> None:
    folders = ["COVID/images", "COVID/masks", "Normal/images", "Normal/masks"]
    dataset = load_data(make_folder(dict.fromkeys(folders, 3)))
    assert dataset.class_names == ("COVID", "Normal")
    assert dataset.notes == ("6 segmentation masks were left out.",)


def test_the_same_folders_in_all_classes_below_train(make_folder: MakeFolder) -> None:
    folders = ["train/cat/day", "train/cat/night", "train/dog/day", "train/dog/night"]
    dataset = load_data(make_folder(dict.fromkeys(folders, 3)))
    assert dataset.class_names == ("cat", "dog")
    (note,) = dataset.notes
    assert note.startswith("Each of cat/, dog/ in")
    assert "holds day/, night/" in note


def test_file_names_that_begin_with_the_classes(make_folder: MakeFolder) -> None:
    root = make_folder({"train": 0, "test1": 2})
    for name in ("cat.0", "cat.1", "dog_2", "dog_13"):
        Image.new("L", (4, 4)).save(root / "train" / f"{name}.png")
    with pytest.raises(
        UserError, match=r"begin with the classes \(cat, dog\), write a labels\.csv"
    ):
        load_data(root)
