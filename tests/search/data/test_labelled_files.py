"""Images with labels in a table: how tables name files, and which tables are rejected."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.data import Dataset, load_data, split_data


def draw(root: Path, paths: Iterable[str]) -> None:
    """Writes one image per path, each with a different grey level."""
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 + 5 * number).save(root / path)


def labels_of(dataset: Dataset) -> list[str]:
    return [dataset.class_names[label] for label in dataset.arrays.development_labels]


def greys(dataset: Dataset) -> list[int]:
    return [int(image[0, 0, 0]) for image in dataset.arrays.development]


@pytest.mark.parametrize("folder", ["", "images/", "train/", "all/of/them/"])
@pytest.mark.parametrize(
    "table",
    [
        "file,label\na.png,dog\nb.png,cat\n",
        "id,breed\na,dog\nb,cat\n",  # without the suffix
        "\ufeffImage Name;Class\r\na.png;dog\r\nb.png;cat\r\n",
        "label\tfilename\ndog\ta.png\ncat\tb.png\n",
        "a.png,dog\nb.png,cat\n",  # without a header
        "a,dog\nb,cat\n",
        "something,else\na,dog\nb,cat\n",
        "note,image_id,category,width\n-,a,dog,4\n-,b,cat,4\n",
        'file,label\n"a.png", "dog"\n\nb.png ,cat',
        "image,cat,dog\na,0,1\nb,1.0,0.0\n",
        "file,label\n/home/somebody/elsewhere/FOLDERa.png,dog\nC:\\x\\FOLDERb.png,cat\n",
    ],
)
def test_how_tables_name_files_and_labels(tmp_path: Path, folder: str, table: str) -> None:
    draw(tmp_path, [f"{folder}b.png", f"{folder}a.png"])
    (tmp_path / "labels.csv").write_text(table.replace("FOLDER", folder), "utf-8")
    dataset = load_data(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert greys(dataset) == [10, 15]
    assert dataset.notes[0].startswith("The labels come from labels.csv")
    assert len(dataset.notes) == 1


def test_train_and_an_unlabelled_test_folder(tmp_path: Path) -> None:
    draw(tmp_path, [*(f"train/{n}.png" for n in range(4)), *(f"test/{n}.png" for n in range(3))])
    (tmp_path / "train.csv").write_text("id,label\n0,x\n1,y\n2,x\n3,y\n")
    (tmp_path / "test.csv").write_text("id\n0\n1\n2\n")
    (tmp_path / "sample_submission.csv").write_text("id,label\n0,x\n1,x\n2,x\n")
    dataset = load_data(tmp_path)
    assert greys(dataset) == [10, 20, 15, 25]
    assert dataset.arrays.test is None
    assert dataset.notes == (
        "The labels come from train.csv (columns id, label).",
        "test/ was left out: 3 images without labels.",
    )


def test_a_table_of_test_images_with_the_same_columns(tmp_path: Path) -> None:
    draw(tmp_path, ["Train/0/a.png", "Train/1/b.png", "Test/a.png", "Test/b.png"])
    (tmp_path / "Train.csv").write_text("Width,ClassId,Path\n4,0,Train/0/a.png\n4,1,Train/1/b.png")
    (tmp_path / "Test.csv").write_text("Width,ClassId,Path\n4,1,Test/a.png\n4,0,Test/b.png\n")
    dataset = load_data(tmp_path)
    assert dataset.arrays.test_labels is not None
    assert dataset.arrays.test_labels.tolist() == [0, 1]
    assert dataset.images == 4


def test_a_table_in_the_training_folder(tmp_path: Path) -> None:
    draw(tmp_path, ["train/a.png", "train/b.png"])
    (tmp_path / "train" / "labels.csv").write_text("file,label\na.png,x\nb.png,y\n")
    assert labels_of(load_data(tmp_path)) == ["x", "y"]


def test_the_table_itself_is_a_source(tmp_path: Path) -> None:
    draw(tmp_path, ["train/x/a.png", "train/x/b.png", "train/y/c.png"])
    (tmp_path / "colours.csv").write_text("file,label\na,red\nb,blue\nc,red\n")
    assert load_data(tmp_path).class_names == ("x", "y")
    dataset = load_data(tmp_path / "colours.csv")
    assert dataset.name == "colours"
    assert dataset.class_names == ("blue", "red")


def test_a_text_file_is_a_table_where_it_is_the_source(tmp_path: Path) -> None:
    draw(tmp_path, ["images/a.png", "images/b.png"])
    (tmp_path / "train_list.txt").write_text("images/a.png 0\nimages/b.png 1\n")
    assert load_data(tmp_path / "train_list.txt").class_names == ("0", "1")


def test_folders_that_are_no_classes(tmp_path: Path) -> None:
    draw(tmp_path, [f"{folder}/{n}.png" for folder in ("images", "masks") for n in range(2)])
    (tmp_path / "labels.csv").write_text("file,label\nimages/0.png,x\nimages/1.png,y\n")
    dataset = load_data(tmp_path)
    assert dataset.class_names == ("x", "y")
    assert dataset.notes[-1] == (
        "2 images that labels.csv does not list were left out: masks/0.png, masks/1.png."
    )


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("labels.csv", "id,name\n7,x\n8,y\n"),
        ("labels.csv", "file,label\nx/0.png,x\ny/0.png,y\n"),
        ("metadata.csv", "image,photographer\nx/0,Eve\nx/1,Bob\ny/0,Eve\n"),
    ],
)
def test_class_folders_with_a_table_that_says_the_same_or_something_else(
    tmp_path: Path, name: str, table: str
) -> None:
    draw(tmp_path, ["x/0.png", "x/1.png", "y/0.png"])
    (tmp_path / name).write_text(table)
    dataset = load_data(tmp_path)
    assert dataset.images == 3
    assert dataset.notes == ()


@pytest.mark.parametrize("column", ["split", "Set", "subset"])
def test_a_column_says_the_roles(tmp_path: Path, column: str) -> None:
    roles = ["train", "Train", "val", "valid", "test", "test"]
    draw(tmp_path, (f"{n}.png" for n in range(6)))
    rows = "".join(f"{n},{'xy'[n % 2]},{role}\n" for n, role in enumerate(roles))
    (tmp_path / "labels.csv").write_text(f"file,label,{column}\n{rows}")
    split = split_data(load_data(tmp_path), seed=0)
    assert (len(split.train), len(split.validation)) == (2, 2)
    assert len(split.open_test("test", lambda _: None)) == 2
    assert split.fractions == {}


def test_folders_say_the_roles_of_listed_files(tmp_path: Path) -> None:
    paths = ["train/0.png", "train/1.png", "test/2.png", "test/3.png"]
    draw(tmp_path, paths)
    rows = "".join(f"{path},{'xy'[n % 2]}\n" for n, path in enumerate(paths))
    (tmp_path / "labels.csv").write_text("file,label\n" + rows)
    dataset = load_data(tmp_path)
    assert len(dataset.arrays.development) == 2
    assert dataset.arrays.test is not None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["10", "9", "9"], ("9", "10")),
        (["1.0", "0.0", "0.0"], ("0", "1")),
        (["10", "9", "b"], ("10", "9", "b")),
        (["-1", "2.5", "-1"], ("-1", "2.5")),
        (["007", "7", "1"], ("1", "007", "7")),
    ],
)
def test_numeric_labels_are_sorted_by_value(
    tmp_path: Path, written: list[str], expected: tuple[str, ...]
) -> None:
    draw(tmp_path, (f"{n}.png" for n in range(3)))
    rows = "".join(f"{n},{label}\n" for n, label in enumerate(written))
    (tmp_path / "labels.csv").write_text("id,label\n" + rows)
    assert load_data(tmp_path).class_names == expected


def test_rows_that_are_left_out_get_notes(tmp_path: Path) -> None:
    draw(tmp_path, (f"{n}.png" for n in range(4)))
    (tmp_path / "labels.csv").write_text("id,label,set\n0,x,A\n1,y,B\n0,x,A\n2,,A\n")
    dataset = load_data(tmp_path)
    assert dataset.images == 2
    place = tmp_path / "labels.csv"
    assert dataset.notes == (
        "The labels come from labels.csv (columns id, label, set).",
        f"Column 'set' of {place} was ignored because its values are not roles: 'a', 'b'.",
        f"1 rows of {place} have no label and were left out.",
        f"1 rows of {place} repeat an earlier one and count once.",
        "2 images that labels.csv does not list were left out: 2.png, 3.png.",
    )


def test_missing_files_count_as_unreadable(tmp_path: Path) -> None:
    draw(tmp_path, (f"{n}.png" for n in range(4)))
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    Image.new("L", (4, 4)).save(outside)
    rows = "".join(f"{n},{'xy'[n % 2]}\n" for n in range(5))
    (tmp_path / "labels.csv").write_text(f"id,label\n{rows}{outside},x\n")
    with pytest.raises(UserError, match=r"2 of 6 are: .*outside\.png \(No such file"):
        load_data(tmp_path)
    dataset = load_data(tmp_path, max_bad_files=0.5)
    assert np.array_equal(greys(dataset), [10, 20, 15, 25])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "file,label\n0,x\n0,y\n",
            r"one label .* 0\.png is 'x' in train \(labels\.csv:2\) and 'y'",
        ),
        ("id,label\n7,x\n8,y\n", r"names, for example, '7', but the folder holds 0\.png, 1\.png"),
        ("id,label\n0,x\n1,x\n", "at least two classes; the training rows of .* hold x"),
        ("id,label\n", r"needs rows .*labels\.csv has none"),
        ("", "has none"),
        ("a,b,c\n0,x,2\n1,y,2\n", "has columns a, b, c"),
        ("id,width,depth\n0,7,2\n", r"line 2 of .* has neither"),
        ("x,y,id\n0,1\n", "has none"),
        ("id,label\n0,\n1,\n", "has none"),
        ("id,label,split\n0,x\n1,y,train\n", "also has ''"),
        ("id,x,y\n0,1,1\n1,0,1\n", r"a single 1 and zeros in each row; line 2"),
        ("id,label,split\n0,x,train\n1,y,holdout\n", "train, val or test .* also has 'holdout'"),
        (
            "id,label,split\n0,x,train\n1,x,train\n2,y,train\n3,z,test\n",
            "has 'z' in test only",
        ),
        ("id,label,split\n0,x,test\n1,y,test\n", "training rows of .* hold none"),
        ("same,x\n0,y\n", r"may be same\.\w+ or same\.\w+\. Fix: add the path or the suffix"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, table: str, message: str) -> None:
    draw(tmp_path, ["0.png", "1.png", "2.png", "3.png", "same.png", "same.gif"])
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(UserError, match=message):
        load_data(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_table_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    draw(tmp_path, ["0.png", "1.png"])
    text = "id,label\n0,thé\n1,café\n" if encoding == "latin-1" else "id,label\n0,a\n1,b\n"
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match="must be UTF-8 text"):
        load_data(tmp_path)


def test_a_table_that_is_none_does_not_hide_the_reason(tmp_path: Path) -> None:
    draw(tmp_path, ["cat/0.png"])
    (tmp_path / "sizes.csv").write_text("city,size\nRome,9\n")
    with pytest.raises(UserError, match="holds only images of 'cat'"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        "TRAIN,FILE,LABEL\n",  # MedMNIST's table, without a header
        "FILE LABEL\n",
        "LABEL,FILE\n",
        "FILE,LABEL\n",
    ],
)
def test_columns_without_a_header(tmp_path: Path, table: str) -> None:
    draw(tmp_path, ["pictures/a.png", "pictures/b.png"])
    rows = (("b.png", "photo"), ("a.png", "dog"))
    text = "".join(table.replace("FILE", file).replace("LABEL", label) for file, label in rows)
    (tmp_path / "pictures.csv").write_text(text)
    assert labels_of(load_data(tmp_path)) == ["dog", "photo"]


@pytest.mark.parametrize("preamble", ["sep=;\n", "# by me\r\n", "\n# by me\nsep=;\n"])
def test_lines_before_the_header(tmp_path: Path, preamble: str) -> None:
    draw(tmp_path, ["0.png", "1.png"])
    (tmp_path / "labels.csv").write_bytes((preamble + "file;label\n0;x\n1;y\n0;z\n").encode())
    line = preamble.count("\n") + 4
    with pytest.raises(UserError, match=rf"'z' in train \(labels\.csv:{line}\)"):
        load_data(tmp_path)


@pytest.mark.parametrize("written", ["nan", "NaN", "NA", "N/A", "NULL", "<NA>"])
def test_missing_labels_are_no_class(tmp_path: Path, written: str) -> None:
    draw(tmp_path, (f"{n}.png" for n in range(4)))
    (tmp_path / "labels.csv").write_text(f"id,label\n0,1.0\n1,0.0\n2,{written}\n3,0.0\n")
    dataset = load_data(tmp_path)
    assert dataset.class_names == ("0", "1")
    assert f"labels.csv have no label ('{written}') and were left out" in dataset.notes[1]


def test_true_and_false_for_each_class(tmp_path: Path) -> None:
    draw(tmp_path, ["0.png", "1.png"])
    (tmp_path / "labels.csv").write_text("id,x,y\n0,True,False\n1,False,True\n")
    assert labels_of(load_data(tmp_path)) == ["x", "y"]


@pytest.mark.parametrize("name", ["metadata.csv", "_classes.csv"])
def test_a_table_in_the_folder_of_each_role(tmp_path: Path, name: str) -> None:
    for role in ("train", "valid", "test"):
        draw(tmp_path, [f"{role}/0.png", f"{role}/1.png"])
        (tmp_path / role / name).write_text("filename, x, y\n0.png, 1, 0\n1.png, 0, 1\n")
    dataset = load_data(tmp_path)
    assert (dataset.arrays.own_validation, len(dataset.arrays.development)) == (2, 4)
    assert dataset.arrays.test_labels is not None
    assert dataset.arrays.test_labels.tolist() == [0, 1]


def test_a_table_of_test_images_with_other_columns(tmp_path: Path) -> None:
    draw(tmp_path, ["train/0.png", "train/1.png", "test/2.png", "test/3.png"])
    (tmp_path / "train.csv").write_text("id,label\n0,x\n1,y\n")
    (tmp_path / "test.csv").write_text("number,file,label\n7,2,y\n8,3,x\n")
    assert load_data(tmp_path).images == 4
    (tmp_path / "test.csv").write_text("id,width\n2,640\n3,480\n")
    assert load_data(tmp_path).images == 2


@pytest.mark.parametrize("folder", ["annotations", "ISIC_Training_GroundTruth", "meta"])
def test_a_table_in_a_folder_of_its_own(tmp_path: Path, folder: str) -> None:
    draw(tmp_path, ["Training_Input/0.png", "Training_Input/1.png"])
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "truth.csv").write_text("image,MEL,NV\n0,0.0,1.0\n1,1.0,0.0\n")
    assert labels_of(load_data(tmp_path)) == ["MEL", "NV"]


def test_numbered_parts_with_a_table(tmp_path: Path) -> None:
    draw(tmp_path, ["images_part_1/a.png", "images_part_2/b.png"])
    table = tmp_path / "metadata.csv"
    table.write_text("lesion_id,image_id,dx,dx_type\nH,a,nv,histo\nH,b,mel,histo\n")
    assert load_data(tmp_path).class_names == ("mel", "nv")


def test_a_table_that_was_not_used_gets_a_note(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    draw(root, ["north/a.png", "north/b.png", "south/c.png"])
    table = root / "data.csv"
    table.write_text("image,species,x\na,oak,1\nb,elm,2\nc,oak,3\n")
    (note,) = load_data(root).notes
    assert "data.csv has other labels for their images" in note
    assert load_data(table).class_names == ("elm", "oak")
    table.rename(root / "labels.csv").write_text("p,q,r\n1,2,3\n")
    (note,) = load_data(root).notes
    assert note.startswith("The folders are the classes. A label table needs a file name column")


def test_a_table_that_says_more_than_the_folders_gets_a_note(tmp_path: Path) -> None:
    paths = [f"{label}/{n}.png" for label in "xy" for n in range(3)]
    draw(tmp_path / "photos", paths)
    for number, role in enumerate(("train", "val", "test")):
        rows = "".join(f"{path},{path[0]}\n" for path in paths[number::3])
        (tmp_path / "photos" / f"{role}.csv").write_text("file,label\n" + rows)
    (note,) = load_data(tmp_path / "photos").notes
    assert "train.csv divides the images into roles; the folders do not" in note
    assert load_data(tmp_path / "photos" / "train.csv").arrays.own_validation == 2


def test_a_table_of_other_labels_beside_role_folders_gets_a_note(tmp_path: Path) -> None:
    paths = [f"train/patient{n}/study/view.png" for n in range(4)]
    draw(tmp_path / "photos", paths)
    rows = "".join(f"set/{path},{'xy'[n % 2]}\n" for n, path in enumerate(paths))
    table = tmp_path / "photos" / "train.csv"
    table.write_text("Path,Label\n" + rows)
    dataset = load_data(tmp_path / "photos")
    assert len(dataset.class_names) == 4
    assert "train.csv has other labels for their images" in dataset.notes[0]
    assert load_data(table).class_names == ("x", "y")


def test_the_column_of_files_is_the_one_that_names_files(tmp_path: Path) -> None:
    draw(tmp_path, ["0.png", "1.png"])
    (tmp_path / "labels.csv").write_text(
        "id,image,labels\n0,https://x.org/a.png,x\n1,https://x.org/b.png,y\n"
    )
    assert labels_of(load_data(tmp_path)) == ["x", "y"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,partition\n0.png,train\n1.png,test\n", "has file and partition. Fix: add the"),
        ("label,pixel0,pixel1\n1,2,3\n", r"holds pixels in 3 columns\. Fix: convert it"),
        ("file|label\n0.png|x\n", r"has one column, 'file\|label'\. Fix: separate them"),
        ("0.png,a,b,c\n1.png,d,e,f\n", r"has 4 columns\. Fix: add a header"),
        ("file,label,Usage\n0,x,Training\n1,y,PublicTest\n", "also has 'publictest'"),
    ],
)
def test_tables_of_other_kinds(tmp_path: Path, table: str, message: str) -> None:
    draw(tmp_path, ["0.png", "1.png"])
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(UserError, match=message):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (["cat", "Cat", "dog", "dog"], "Some classes differ only in case or spaces: 'Cat' and"),
        (["a", "b", "a|b", "c"], "Each combination of labels .*: 'a|b'"),
        (["a b", "b", "a", "c"], "Each combination of labels .*: 'a b'"),
        (["polar bear", "brown bear", "bear", "x"], None),
    ],
)
def test_doubtful_class_names_get_notes(
    tmp_path: Path, labels: list[str], note: str | None
) -> None:
    draw(tmp_path, (f"{n}.png" for n in range(4)))
    rows = "".join(f"{n},{label}\n" for n, label in enumerate(labels))
    (tmp_path / "labels.csv").write_text("id,label\n" + rows)
    notes = load_data(tmp_path).notes[1:]
    assert bool(notes) == (note is not None)
    assert note is None or re.match(note, notes[0])


def test_a_label_in_both_unicode_forms_is_one_class(tmp_path: Path) -> None:
    draw(tmp_path, [f"{n}.png" for n in range(4)])
    rows = "0.png,caf\u00e9\n1.png,cafe\u0301\n2.png,tea\n3.png,tea\n"
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}", "utf-8")
    assert load_data(tmp_path).class_names == ("caf\u00e9", "tea")
