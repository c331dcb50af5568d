"""Tiny image folders."""

from pathlib import Path

import numpy as np
from PIL import Image


def image_folder(folder: Path, *, a_class: int, size: tuple[int, int] = (12, 12)) -> Path:
    """Writes train/ and test/ with two classes, bright and dark; test has two images per class."""
    generator = np.random.default_rng(0)
    for role, count in (("train", a_class), ("test", 2)):
        for name, base in (("bright", 150), ("dark", 0)):
            (folder / role / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(base, base + 100, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / role / name / f"{number:04}.png")
    return folder
