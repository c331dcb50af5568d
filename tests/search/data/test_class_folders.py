"""Which folders are classes, which are roles, and which are neither."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.data import Dataset, load_data
from search.data.names import class_name
from tests.search.data.conftest import MakeFolder


def roles_of(dataset: Dataset) -> tuple[int, int, int]:
    """Returns the numbers of training, own validation and test images."""
    arrays = dataset.arrays
    test = 0 if arrays.test is None else len(arrays.test)
    return len(arrays.development) - arrays.own_validation, arrays.own_validation, test


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", "__MACOSX", ".thumbnails", "$RECYCLE.BIN", "System Volume Information"),
        *("lost+found", "__pycache__", ".ipynb_checkpoints", "#recycle"),
    ],
)
@pytest.mark.parametrize("place", [".", "train", "train/cat"])
def test_leftovers_of_systems_are_neither_classes_nor_images(
    make_folder: MakeFolder, name: str, place: str
) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, f"{place}/{name}/thumbnails": 2})
    (root / "train" / "cat" / "._0000.png").write_bytes(b"AppleDouble")
    (root / "train" / "Thumbs.db").write_bytes(b"")
    dataset = load_data(root)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.images == 6
    (note,) = dataset.notes
    assert note.startswith("3 hidden files and system files were ignored (")
    assert name in note


def test_empty_class_folders_and_loose_images_get_notes(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "train/fox": 0, "test/cat": 2})
    for path in ("loose.png", "train/loose.png", "test/loose.png"):
        Image.new("L", (10, 8)).save(root / path)
    dataset = load_data(root)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.notes == (
        "Folders without images were left out: train/fox/.",
        "3 images outside the class folders were left out: loose.png, train/loose.png, "
        "test/loose.png.",
        "The test images contain none of class 'dog'.",
    )


def test_links_are_followed_and_cycles_cut(make_folder: MakeFolder, tmp_path: Path) -> None:
    store = make_folder({"batch": 4}, name="store")
    root = make_folder({"cat": 3, "dog": 3})
    (root / "cat" / "more").symlink_to(store / "batch")
    (root / "cat" / "again").symlink_to(root / "cat")
    (root / "dog" / "above").symlink_to(tmp_path / "photos" / "dog" / "..")
    (root / "dog" / "itself").symlink_to("itself")
    dataset = load_data(root)
    counts = [list(dataset.arrays.development_labels).count(label) for label in (0, 1)]
    # dog/above/ holds cat/ and dog/: the cycle to dog/ is cut, the link to cat/ is followed.
    assert counts == [7, 3 + 7]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("training_set/training_set", "dev", "test_set/test_set"),
        ("seg_train/seg_train", "seg_val", "seg_test/seg_test"),
        ("Training Images", "Validation Images", "Test Images"),
        ("trainset", "valset", "testset"),
        ("TrainData", "devData", "TestData"),
        ("train2017", "val2017", "test2017"),
        ("animals-10_train", "animals-10_val", "animals-10_test"),
        ("train/images", "valid/images", "test/images"),
    ],
)
def test_roles_in_many_spellings(
    make_folder: MakeFolder, train: str, validation: str, test: str
) -> None:
    classes = {f"{train}/cat": 4, f"{train}/dog": 3}
    classes |= {f"{validation}/cat": 1, f"{validation}/dog": 2}
    classes |= {f"{test}/cat": 2, f"{test}/dog": 2}
    dataset = load_data(make_folder(classes))
    assert dataset.class_names == ("cat", "dog")
    assert roles_of(dataset) == (7, 3, 4)
    assert dataset.notes == ()


@pytest.mark.parametrize(
    "classes",
    [
        ["bus", "car", "train"],
        ["normal", "test"],
        ["cat", "dog", "valid"],
        ["bullet_train", "steam_train"],
        ["test_tube", "train_station", "wall"],
        ["training shoes", "sandals"],
    ],
)
def test_classes_that_are_named_like_roles(make_folder: MakeFolder, classes: list[str]) -> None:
    dataset = load_data(make_folder(dict.fromkeys(classes, 3)))
    assert list(dataset.class_names) == sorted(classes)
    assert all("is treated as a class" in note for note in dataset.notes)
    named = any(name in ("train", "test", "valid") for name in classes)
    assert len(dataset.notes) == named


@pytest.mark.parametrize("place", ["test", "test/unknown", "test/test"])
def test_test_images_without_labels_are_left_out(make_folder: MakeFolder, place: str) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, place: 5})
    dataset = load_data(root)
    assert roles_of(dataset) == (6, 0, 0)
    assert dataset.notes == ("test/ was left out: 5 images without labels.",)


def test_folders_beside_the_roles(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "train_masks/cat": 3, "extra": 2})
    dataset = load_data(root)
    assert dataset.images == 6
    assert dataset.notes == ("Folders next to train/ were ignored: extra/, train_masks/.",)


def test_one_class_in_both_unicode_forms(make_folder: MakeFolder) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = make_folder(
        {f"train/{composed}": 3, "train/tea": 3, f"test/{decomposed}": 2, "test/tea": 2}
    )
    dataset = load_data(root)
    assert dataset.class_names == (composed, "tea")
    assert roles_of(dataset) == (6, 0, 4)
    (root / "train" / decomposed).mkdir()
    Image.new("L", (10, 8)).save(root / "train" / decomposed / "more.png")
    assert roles_of(load_data(root)) == (7, 0, 4)


def test_a_class_name_that_is_not_utf8(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    os.rename(os.fsencode(root / "cat"), os.fsencode(root) + b"/caf\xe9")  # noqa: PTH104
    with pytest.raises(UserError, match=r"must be UTF-8; .*/caf\\xe9 is not.* Fix: rename the"):
        load_data(root)


def test_a_class_name_on_an_ascii_file_system_is_utf8() -> None:
    assert class_name("caf\udcc3\udca9", "train/x") == "caf\u00e9"


def test_file_names_are_escaped(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    path = os.fsencode(root) + b"/cat/\xe9\x1b[31m\n.png"
    with open(path, "wb") as file:  # noqa: PTH123 - a name that is not text
        file.write(b"no image")
    with pytest.raises(UserError, match=r"cat/\\xe9\\x1b\[31m\\n\.png \(not an image\)"):
        load_data(root)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"cat": 3}, r"at least two classes; .*photos holds only images of 'cat'"),
        ({"photos/cat": 3, "photos/dog": 3}, r"Did you mean .*photos/photos\?"),
        ({"data/train/cat": 3, "data/test/cat": 3}, r"Did you mean .*photos/data\?"),
        (
            {"data/train/cat": 3, "data/test/cat": 3, "models": 1},
            r"must be in the data set's root, .*data holds test/, train/.* Did you mean .*data\?",
        ),
        (
            {"cat/train": 3, "cat/test": 3, "dog/train": 3},
            r"cat holds test/, train/.* Fix: move the images to train/cat/",
        ),
        ({"train_a/cat": 3, "test_b/cat": 3}, "must not all be named like roles; .* rename them"),
        (
            {"a/b/train/cat": 3, "a/b/train/dog": 3, "test/test": 2},
            r"also needs train/.* Did you mean .*photos/a/b\?",
        ),
        ({"a/b/c/cat": 3, "a/b/c/dog": 3}, r"only images of 'a'.* Did you mean .*photos/a/b/c\?"),
        ({"cat": 3, "dog": 0}, r"holds only images of 'cat'"),
        ({"cat": 0, "dog": 0}, r"holds empty folders only"),
        ({".": 3}, r"holds no folder\. Expected train/<class>"),
        ({"train": 3, "test": 3}, r"train holds no folder\. Expected"),
        ({"test/cat": 3, "test/dog": 3}, r"with test/ also needs train/"),
        (
            {"train/cat": 3, "train/dog": 3, "test/cat": 3, "test/dogs": 3},
            r"it lacks 'dog' and has 'dogs', which train does not",
        ),
        (
            {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "valid/a": 1},
            r"has val/ and valid/ for validation",
        ),
    ],
)
def test_what_is_no_image_folder(
    make_folder: MakeFolder, classes: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_data(make_folder(classes))


def test_annotations_beside_the_classes(make_folder: MakeFolder) -> None:
    root = make_folder({"images/cat": 3, "images/dog": 3, "annotations/cat": 0})
    (root / "annotations" / "cat" / "0.xml").write_text("<box/>")
    with pytest.raises(UserError, match=r"annotations holds no .*Did you mean .*/images\?"):
        load_data(root)


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (".txt", r"dog holds no PNG.* only others \(\.txt\)\. Fix: add images or remove"),
        (".dcm", r"only others \(\.dcm\)\. Fix: convert DICOM to PNG"),
        (".jp2", r"only others \(\.jp2\)\. Fix: convert JPEG 2000 to PNG"),
        (".npy", r"only others \(\.npy\)\. Fix: pack the arrays into one \.npz"),
    ],
)
def test_a_class_of_other_files(make_folder: MakeFolder, suffix: str, message: str) -> None:
    root = make_folder({"cat": 3, "dog": 0})
    (root / "dog" / f"0{suffix}").write_bytes(b"something")
    with pytest.raises(UserError, match=message):
        load_data(root)


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("train", "test"), ("test", "train")),
        (("fold1", "fold2"), ("fold1", "fold2")),
        (("north/day", "north/night", "south/day", "south/night"), ("north", "south")),
        (("yes", "no", "pred"), ("no", "pred", "yes")),
    ],
)
def test_a_person_may_say_that_the_folders_are_classes(
    make_folder: MakeFolder, folders: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    root = make_folder(dict.fromkeys(folders, 3))

    dataset = load_data(root, layout="classes")

    assert dataset.class_names == classes
    assert roles_of(dataset)[2] == 0


def test_a_person_may_say_that_the_folders_are_roles(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1, "test/dog": 1})
    (root / "labels.csv").write_text("file,label\ntrain/cat/0000.png,other\n")

    dataset = load_data(root, layout="roles")

    assert dataset.class_names == ("cat", "dog")
    assert roles_of(dataset) == (6, 0, 2)
    with pytest.raises(UserError, match=r"With --layout roles .* holds cat, dog\. Fix: "):
        load_data(root / "train", layout="roles")


def test_another_layout_is_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(UserError, match="--layout must be one of auto, classes, roles"):
        load_data(make_folder({"cat": 1, "dog": 1}), layout="flat")  # type: ignore[arg-type]
