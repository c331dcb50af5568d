"""A separate cache for every test, and small image folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty image cache that all loads of the test use."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(directory))
    return directory


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes an image folder and returns its root: make_folder({"train/cat": 10, ...})."""

    def make(
        classes: dict[str, int], *, name: str = "photos", size: tuple[int, int] = (8, 10)
    ) -> Path:
        root = tmp_path / name
        for number, (folder, count) in enumerate(classes.items()):
            assert not folder.startswith("/"), "it would be created outside the root"
            (root / folder).mkdir(parents=True)
            generator = np.random.default_rng(number)
            for index in range(count):
                pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{index:04}.png")
        return root

    return make
