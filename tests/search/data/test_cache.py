"""The cache: atomic, checked, rebuilt when damaged, shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cnn_blocks.errors import UserError
from search.data import load_data
from search.data.cache import cache_notes, default_cache_directory
from tests.search.data.conftest import MakeFolder

LOAD = "import sys; from search.data import load_data; print(load_data(sys.argv[1]).fingerprint)"


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "images").iterdir())


@pytest.mark.parametrize("name", ["development.pixels", "labels.npz", "description.json"])
@pytest.mark.parametrize("damage", ["truncated", "zeroed", "missing"])
def test_a_damaged_entry_is_made_again(
    make_folder: MakeFolder, cache: Path, name: str, damage: str
) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    before = load_data(root)
    pixels = before.arrays.development.copy()
    (entry,) = entries(cache)
    path = entry / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:-20])
    elif damage == "zeroed":
        path.write_bytes(bytes(len(content)))
    after = load_data(root)
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.arrays.development, pixels)
    assert entries(cache) == [entry]


def test_a_damaged_index_is_made_again(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    before = load_data(root)
    (index,) = (cache / "sources").iterdir()
    index.write_bytes(index.read_bytes()[:-100])
    assert load_data(root).fingerprint == before.fingerprint


def test_a_failed_decode_leaves_nothing(
    make_folder: MakeFolder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    root = make_folder({"cat": 4, "dog": 4})
    with monkeypatch.context() as patch:
        patch.setattr("search.data.decoding.decode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_data(root)
    assert entries(cache) == []
    assert load_data(root).images == 8


def test_abandoned_folders_are_removed(make_folder: MakeFolder, cache: Path) -> None:
    left = cache / "images" / ".writing-old"
    fresh = cache / "images" / ".writing-fresh"
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    os.utime(left, (0, 0))
    load_data(make_folder({"cat": 4, "dog": 4}))
    assert not left.exists()
    assert fresh.exists()


def test_processes_at_once_agree(make_folder: MakeFolder, cache: Path, repository: Path) -> None:
    root = make_folder({"cat": 200, "dog": 200})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(root)],
            cwd=repository,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(outputs)) == 1
    assert len(entries(cache)) == 1


def test_a_cache_that_cannot_be_written(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")
    with pytest.raises(UserError, match="Fix: set CNN_SEARCH_CACHE to a writable directory"):
        load_data(root, cache_directory=occupied)


def test_the_directory_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path))
    assert default_cache_directory() == tmp_path
    monkeypatch.delenv("CNN_SEARCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    assert default_cache_directory() == tmp_path / "platform" / "cnn-search"


def test_a_user_without_a_home_folder_gets_a_temporary_cache_and_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    assert cache_notes() == []
    for name in ("CNN_SEARCH_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    found = default_cache_directory()

    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o077 == 0
    assert str(found) in cache_notes()[0]
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    (tmp_path / "cnn-search-4711").mkdir()
    with pytest.raises(UserError, match="belongs to another"):
        default_cache_directory()
