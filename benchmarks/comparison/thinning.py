"""A small image folder out of a large one: so many images of each class, drawn by a fixed seed."""

import shutil
from pathlib import Path

import numpy as np

from search.system.files import whole_folder

_SEED = 0


def thinned(source: Path, target: Path, *, train: int, validation: int) -> Path:
    """Copies part of an image folder, with `train/`, `val/` and the whole `test/`, and returns it.

    `train` and `validation` images of each class come out of the source's `train/`. Equal sources
    give equal folders; one that exists is kept. Raises ValueError where a class has too few images.
    """
    if target.is_dir():
        return target
    with whole_folder(target) as temporary:
        classes = sorted(path for path in (source / "train").iterdir() if path.is_dir())
        for number, folder in enumerate(classes):
            files = sorted(path for path in folder.iterdir() if path.is_file())
            if len(files) < train + validation:
                raise ValueError(
                    f"A class needs {train + validation} training images to be thinned; "
                    f"{folder} has {len(files)}. Give the whole data set."
                )
            # The raw output of PCG64 is promised for all versions of NumPy.
            keys = np.random.PCG64([_SEED, number]).random_raw(len(files))
            drawn = [files[row] for row in np.argsort(keys, kind="stable")]
            _copy(drawn[:train], temporary / "train" / folder.name)
            _copy(drawn[train : train + validation], temporary / "val" / folder.name)
        shutil.copytree(source / "test", temporary / "test")
    return target


def _copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)
