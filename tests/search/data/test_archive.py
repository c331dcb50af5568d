"""Data sets in .zip archives give the same result as folders; hostile archives do no harm."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.data import archive, inspection, load_data
from tests.search.data.conftest import MakeFolder

TWO = {"train/cat": 6, "train/dog": 7, "test/cat": 3, "test/dog": 2}


def pack(root: Path, *, top: str = "", name: str = "photos.zip") -> Path:
    """Packs a folder's files below `top`, as archivers do."""
    path = root.parent / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, f"{top}{file.relative_to(root).as_posix()}")
    return path


@pytest.mark.parametrize("top", ["", "photos/", "data/set-1/"])
@pytest.mark.parametrize("classes", [TWO, {"cat": 4, "dog/brown": 2, "dog/white": 2}])
def test_an_archive_is_its_folder(
    make_folder: MakeFolder, classes: dict[str, int], top: str
) -> None:
    root = make_folder(classes)
    dataset = load_data(pack(root, top=top))
    assert dataset.name == "photos"
    assert dataset.notes == ()
    assert dataset.fingerprint == load_data(root).fingerprint


@pytest.mark.parametrize("top", ["", "set/"])
def test_an_archive_with_a_table(tmp_path: Path, top: str) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(4):
        Image.new("L", (4, 4), number).save(root / f"{number}.png")
    (root / "labels.csv").write_text("id,label\n0,x\n1,y\n2,x\n3,y\n")
    dataset = load_data(pack(root, top=top))
    assert dataset.fingerprint == load_data(root).fingerprint
    assert dataset.class_names == ("x", "y")


def test_a_later_start_reads_nothing_again(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(make_folder(TWO))
    first = load_data(path)
    monkeypatch.setattr(inspection, "_inspect_file", None)
    monkeypatch.setattr(archive.ZipTree, "read", None)
    assert load_data(path).fingerprint == first.fingerprint


def test_a_changed_archive_is_read_again(make_folder: MakeFolder) -> None:
    root = make_folder(TWO)
    first = load_data(pack(root))
    (root / "train" / "cat" / "0000.png").write_bytes(
        (root / "train" / "dog" / "0000.png").read_bytes()
    )
    assert load_data(pack(root)).fingerprint != first.fingerprint


def test_paths_that_lead_out_and_links_are_left_out(make_folder: MakeFolder) -> None:
    root = make_folder(TWO)
    clean = load_data(root).fingerprint
    path = pack(root)
    image = (root / "train" / "cat" / "0000.png").read_bytes()
    link = zipfile.ZipInfo("train/cat/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as hostile:
        hostile.writestr("../train/cat/up.png", image)
        hostile.writestr("train/../../out.png", image)
        hostile.writestr("/train/cat/root.png", image)
        hostile.writestr("C:\\train\\cat\\drive.png", image)
        hostile.writestr(link, "/etc/passwd")
        hostile.writestr("__MACOSX/train/cat/._0000.png", b"AppleDouble")
        hostile.writestr("train\\cat\\.DS_Store", b"")
    before = sorted(root.parent.rglob("*.png"))
    dataset = load_data(path)
    assert dataset.fingerprint == clean
    assert dataset.notes == (
        "2 hidden files and system files were ignored (.DS_Store, __MACOSX).",
        "5 links or paths that lead out of the archive were left out, such as ../train/cat/up.png.",
    )
    assert sorted(root.parent.rglob("*.png")) == before


def test_backslashes_and_names_from_a_mac(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"cafXY": 3, "thXY": 3})
    path = tmp_path / "old.zip"
    with zipfile.ZipFile(path, "w") as old:
        old.writestr("cafXY\\", b"")
        for file in sorted(root.rglob("*.png")):
            old.writestr("\\".join(file.relative_to(root).parts), file.read_bytes())
        old.writestr("thXY\\", b"")
    # UTF-8 without the flag that says so.
    path.write_bytes(path.read_bytes().replace(b"XY\\", "é\\".encode()))
    with zipfile.ZipFile(path) as stored:
        assert stored.namelist()[0].startswith("caf├⌐")
    assert load_data(path).class_names == ("café", "thé")


def test_an_encrypted_archive(make_folder: MakeFolder) -> None:
    path = pack(make_folder(TWO))
    content = path.read_bytes()
    position = content.rfind(b"PK\x01\x02") + 8  # the flags of the last file
    path.write_bytes(content[:position] + b"\x01" + content[position + 1 :])
    with pytest.raises(UserError, match=r"must not be encrypted; .*photos\.zip is\. Fix: unpack"):
        load_data(path)


def test_another_compression(make_folder: MakeFolder) -> None:
    path = pack(make_folder(TWO))
    content = path.read_bytes()
    position = content.rfind(b"PK\x01\x02") + 10
    path.write_bytes(content[:position] + b"\x09" + content[position + 1 :])  # deflate64
    with pytest.raises(UserError, match="must use deflate"):
        load_data(path)


@pytest.mark.parametrize("content", [b"", b"no archive at all", None])
def test_a_damaged_archive(make_folder: MakeFolder, content: bytes | None) -> None:
    path = pack(make_folder(TWO))
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(UserError, match=r"must be a complete \.zip archive; .*photos\.zip cannot"):
        load_data(path)


def test_a_damaged_member_is_a_bad_file(make_folder: MakeFolder) -> None:
    path = pack(make_folder({"cat": 5, "dog": 5}))
    with zipfile.ZipFile(path) as whole:
        member = whole.getinfo("cat/0003.png")
    content = bytearray(path.read_bytes())
    content[member.header_offset + 60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"1 of 10 are: cat/0003\.png"):
        load_data(path)


def test_a_decompression_bomb(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(TWO)
    (root / "train" / "cat" / "bomb.bmp").write_bytes(bytes(10_000_000))
    path = pack(root)
    monkeypatch.setattr(archive, "_HARMLESS_TOTAL", 1_000_000)
    with pytest.raises(UserError, match=r"at most 200 times its size; .*10,\d+,\d+ bytes in"):
        load_data(path)
    monkeypatch.setattr(archive, "_LARGEST_RATIO", 1e9)
    monkeypatch.setattr(archive, "_LARGEST_FILE", 1_000_000)
    (note,) = load_data(path, max_bad_files=0.5).notes
    assert "bomb.bmp (10,000,000 bytes exceed the limit of 1,000,000)" in note


def test_a_file_beside_the_only_folder(make_folder: MakeFolder) -> None:
    path = pack(make_folder(TWO), top="PetImages/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "about")
    assert load_data(path).class_names == ("cat", "dog")


def test_an_archive_without_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(UserError, match=r"empty\.zip holds no folder"):
        load_data(tmp_path / "empty.zip")
