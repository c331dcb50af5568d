"""Image files: mixed content, bad files, changes between loads."""

from __future__ import annotations

import mmap
import os
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.data import Decoding, decoding, inspection, load_data, split_data
from search.data.formats import READABLE
from search.data.image_fit import Fit
from search.data.tree import Tree
from tests.search.data.conftest import MakeFolder

TWO = {"train/cat": 6, "train/dog": 7, "test/cat": 3, "test/dog": 2}


def is_memory_mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def test_train_and_test_folders(make_folder: MakeFolder) -> None:
    root = make_folder(TWO)
    dataset = load_data(root)
    assert dataset.name == "photos"
    assert dataset.source == str(root)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (8, 10, 3)
    assert dataset.notes == ()
    assert dataset.arrays.development_labels.tolist() == [0] * 6 + [1] * 7
    assert dataset.arrays.test_labels is not None
    assert dataset.arrays.test_labels.tolist() == [0] * 3 + [1] * 2
    stored = np.asarray(Image.open(root / "train" / "dog" / "0002.png"))
    np.testing.assert_array_equal(dataset.arrays.development[6 + 2], stored)
    assert is_memory_mapped(dataset.arrays.development)


def test_a_validation_folder_is_the_validation_share(make_folder: MakeFolder) -> None:
    dataset = load_data(make_folder({**TWO, "val/cat": 2, "val/dog": 2}))
    split = split_data(dataset, seed=0)
    assert split.fractions == {}
    assert len(split.train) == 13
    assert split.validation.indices.tolist() == [13, 14, 15, 16]
    assert split.development.indices.tolist() == list(range(17))


@pytest.mark.parametrize(
    ("fit", "expected"), [("crop", (8, 8)), ("pad", (16, 16)), ("stretch", (16, 8))]
)
def test_portraits_and_landscapes_meet_in_a_square_unless_stretched(
    make_folder: MakeFolder, fit: Fit, expected: tuple[int, int]
) -> None:
    root = make_folder({"cat": 4, "dog": 4}, size=(16, 8))
    for number in range(2):
        Image.new("RGB", (16, 8)).save(root / "cat" / f"landscape{number}.png")
    assert load_data(root, fit=fit).image_shape == (*expected, 3)


def test_a_fit_matters_only_where_shapes_differ(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder({"cat": 4, "dog": 4}, size=(300, 451))
    datasets = {fit: load_data(root, fit=fit) for fit in get_args(Fit)}
    assert len({dataset.fingerprint for dataset in datasets.values()}) == 1
    assert len(list((cache / "images").iterdir())) == 1
    assert {dataset.decoding.fit for dataset in datasets.values()} == set(datasets)

    Image.new("RGB", (451, 451), "red").save(root / "cat" / "square.png")
    pixels = {fit: load_data(root, fit=fit).arrays.development for fit in get_args(Fit)}
    assert not np.array_equal(pixels["crop"], pixels["pad"])
    assert not np.array_equal(pixels["pad"], pixels["stretch"])


def test_an_unknown_fit_is_named_with_those_there_are(make_folder: MakeFolder) -> None:
    with pytest.raises(UserError, match=r"crop, pad, stretch; received 'zoom'"):
        load_data(make_folder({"cat": 4, "dog": 4}), fit="zoom")  # type: ignore[arg-type]


@pytest.mark.parametrize("fit", get_args(Fit))
def test_the_record_of_a_data_set_decodes_its_files_to_the_same_pixels(
    make_folder: MakeFolder, fit: Fit
) -> None:
    root = make_folder({"cat": 3, "dog": 3}, size=(60, 80))
    generator = np.random.default_rng(0)
    photo = Image.fromarray(generator.integers(0, 256, (150, 180, 3), dtype=np.uint8))
    photo.save(root / "cat" / "photo.jpg")
    photo.convert("CMYK").save(root / "cat" / "printed.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    photo.save(root / "cat" / "turned.jpg", exif=turned)
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(root / "dog" / "clear.png")
    deep = generator.integers(300, 4000, (90, 70)).astype(np.uint16)
    Image.fromarray(deep).save(root / "dog" / "deep.png")
    (root / "dog" / "broken.png").write_bytes(b"broken")

    dataset = load_data(root, fit=fit, max_bad_files=0.2)

    decoding = Decoding.model_validate_json(dataset.decoding.model_dump_json())
    assert decoding.fit == fit
    assert decoding.levels.high < 4000
    files = dataset.arrays.development_files
    assert files is not None
    assert len(files) == dataset.images == 11
    for file, pixels in zip(files, dataset.arrays.development, strict=True):
        assert np.array_equal(decoding.decode((root / file).read_bytes()), pixels), file


def test_one_level_and_folders_inside_classes(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 5, "dog/brown": 3, "dog/white": 4})
    dataset = load_data(root)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.arrays.development_labels.tolist() == [0] * 5 + [1] * 7
    assert dataset.arrays.test is None


def test_mixed_sizes_take_the_commonest_and_say_so(make_folder: MakeFolder) -> None:
    root = make_folder(TWO)
    Image.new("RGB", (40, 20)).save(root / "train" / "cat" / "wide.jpg")
    dataset = load_data(root)
    assert dataset.image_shape == (8, 10, 3)
    assert dataset.notes == (
        "1 of 19 images were resized to 8x10 pixels (height x width): the most common size. 1 of "
        "another shape: cropped around the centre (--fit pad or stretch keeps everything). "
        "--image-size chooses another size.",
    )
    assert load_data(root, image_size=16).image_shape == (16, 16, 3)
    assert load_data(root, image_size=(12, 14)).image_shape == (12, 14, 3)


def test_large_images_are_shrunk_by_default(make_folder: MakeFolder) -> None:
    dataset = load_data(make_folder({"cat": 3, "dog": 3}, size=(300, 450)))
    assert dataset.image_shape == (149, 224, 3)
    assert "300x450, shrunk to 224 pixels" in dataset.notes[0]


def test_other_files_are_ignored_with_a_note(make_folder: MakeFolder) -> None:
    root = make_folder(TWO)
    (root / "train" / "cat" / "notes.txt").write_text("fur")
    (root / "train" / "cat" / ".DS_Store").write_text("")
    (root / "extra").mkdir()
    dataset = load_data(root)
    assert dataset.images == 18
    assert dataset.notes == (
        "Folders next to train/ were ignored: extra/.",
        f"1 files other than {READABLE} were ignored (.txt).",
        "1 hidden files and system files were ignored (.DS_Store).",
    )


def test_bad_files_are_skipped_up_to_the_limit(make_folder: MakeFolder) -> None:
    root = make_folder(TWO)
    whole = (root / "train" / "cat" / "0000.png").read_bytes()
    (root / "train" / "cat" / "0000.png").write_bytes(whole[: len(whole) // 2])
    (root / "train" / "dog" / "9999.jpg").write_bytes(b"no image")
    (root / "test" / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(UserError, match=r"0\.01 .*3 of 20 are: train/cat/0000\.png \(.*truncated"):
        load_data(root)
    dataset = load_data(root, max_bad_files=0.2)
    assert dataset.arrays.development_labels.tolist() == [0] * 5 + [1] * 7
    kept = np.asarray(Image.open(root / "train" / "cat" / "0001.png"))
    np.testing.assert_array_equal(dataset.arrays.development[0], kept)
    (note,) = dataset.notes
    assert note.startswith("3 of 20 image files could not be read and were skipped: ")
    assert "train/dog/9999.jpg (not an image)" in note
    assert "test/dog/gone.png (No such file or directory)" in note


def test_a_decompression_bomb_is_a_bad_file(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(TWO)
    Image.new("RGB", (50, 50)).save(root / "train" / "cat" / "bomb.png")
    monkeypatch.setattr(decoding, "_LARGEST_DECODED", 9_000)
    assert (
        "train/cat/bomb.png (50x50 pixels take 10,000 bytes, more than 9,000)"
        in (load_data(root, max_bad_files=0.1).notes[-1])
    )


def test_one_range_of_deep_grey_for_all_roles(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a": 0, "train/b": 0, "test/a": 0, "test/b": 0})
    for number, folder in enumerate(("train/a", "train/b", "test/a", "test/b")):
        for index in range(3):
            values = np.full((8, 10), 1000 * number + index + 500, dtype=np.uint16)
            values[0, 0] = 100 if folder == "train/a" else 200
            Image.fromarray(values).save(root / folder / f"{index}.png")
    dataset = load_data(root)
    assert dataset.notes[0] == (
        "12 grey images are stored with more than 8 bits; their values 100 to 1502 were scaled "
        "to 0 to 255, the same in all roles."
    )
    assert dataset.arrays.development[0, 1, 1, 0] == round(400 / 1402 * 255)
    assert dataset.arrays.test is not None
    assert (dataset.arrays.test[:, 1, 1] == 255).all()


def test_an_installed_reader_makes_files_readable(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(TWO)
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    (root / "train" / "cat" / "phone.heic").write_bytes(content)
    with pytest.raises(UserError, match=r"phone\.heic \(HEIC needs `pip install pillow-heif`\)"):
        load_data(root)
    read_header, decode = decoding.read_header, decoding.decode
    png = (root / "train" / "cat" / "0000.png").read_bytes()

    def convert(given: bytes) -> bytes:
        return png if given == content else given

    monkeypatch.setattr(decoding, "read_header", lambda given: read_header(convert(given)))
    monkeypatch.setattr(decoding, "decode", lambda given, *rest: decode(convert(given), *rest))
    assert load_data(root).images == 19


def test_a_repaired_file_comes_back(make_folder: MakeFolder) -> None:
    root = make_folder(TWO)
    path = root / "train" / "cat" / "0000.png"
    whole = path.read_bytes()
    status = path.stat()
    path.write_bytes(b"x" * len(whole))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_data(root, max_bad_files=0.5).images == 17
    path.write_bytes(whole)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_data(root).images == 18


def test_a_later_start_reads_only_what_changed(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(TWO)
    first = load_data(root)
    read: list[str] = []
    inspect = inspection._inspect_file

    def spy(tree: Tree, path: str) -> tuple[bytes, decoding.Header]:
        read.append(path.rpartition("/")[2])
        return inspect(tree, path)

    monkeypatch.setattr(inspection, "_inspect_file", spy)
    assert load_data(root).fingerprint == first.fingerprint
    assert read == []

    os.utime(root / "train" / "cat" / "0003.png", ns=(1, 1))
    assert load_data(root).fingerprint == first.fingerprint
    assert read == ["0003.png"]

    Image.new("RGB", (10, 8)).save(root / "train" / "dog" / "new.png")
    changed = load_data(root)
    assert read == ["0003.png", "new.png"]
    assert changed.fingerprint != first.fingerprint
    assert changed.images == first.images + 1

    (root / "train" / "dog" / "new.png").unlink()
    assert load_data(root).fingerprint == first.fingerprint
    assert read == ["0003.png", "new.png"]


def test_the_fingerprint_follows_content_and_not_the_place(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    root = make_folder(TWO)
    original = load_data(root)
    shutil.copytree(root, tmp_path / "copy")
    assert load_data(tmp_path / "copy").fingerprint == original.fingerprint
    (tmp_path / "copy" / "train" / "cat").rename(tmp_path / "copy" / "train" / "wolf")
    (tmp_path / "copy" / "test" / "cat").rename(tmp_path / "copy" / "test" / "wolf")
    assert load_data(tmp_path / "copy").fingerprint != original.fingerprint
    assert load_data(root, image_size=16).fingerprint != original.fingerprint


def test_leaked_images_are_counted_and_reported(make_folder: MakeFolder) -> None:
    root = make_folder({**TWO, "val/cat": 2, "val/dog": 2})
    # The same pixels in another file format, under another name.
    Image.open(root / "train" / "cat" / "0001.png").save(root / "test" / "cat" / "again.bmp")
    shutil.copy(root / "train" / "dog" / "0001.png", root / "val" / "dog" / "again.png")
    shutil.copy(root / "train" / "dog" / "0002.png", root / "train" / "cat" / "again.png")
    dataset = load_data(root)
    assert dataset.leaked_images == 1
    assert "1 of 6 test images also occur, pixel for pixel" in dataset.notes[0]
    assert "1 of 5 validation images also occur, pixel for pixel" in dataset.notes[1]
    assert dataset.notes[2] == "1 images are identical to an image of another class."


def test_a_class_whose_files_are_all_bad(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 20, "dog": 1})
    (root / "dog" / "0000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="none of class 'dog' in train can be read"):
        load_data(root, max_bad_files=0.5)


@pytest.mark.parametrize("kept", [0, 100])  # 100 bytes: complete header, incomplete pixels
def test_no_readable_image_at_all(make_folder: MakeFolder, kept: int) -> None:
    root = make_folder({"cat": 1, "dog": 1})
    for path in root.glob("*/*.png"):
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="none can be read"):
        load_data(root)
