"""Makes a small image folder from a large one: a fixed number of images per class, fixed seed."""

import shutil
from pathlib import Path

import numpy as np

from search.system.files import whole_folder

_SEED = 0


def thinned(source: Path, target: Path, *, train: int, validation: int) -> Path:
    """Copies part of an image folder into `train/` and `val/`, and the whole `test/`.

    `train` and `validation` images of each class come from the source's `train/`. Equal sources
    give equal folders; an existing target is kept. Raises ValueError if a class has too few images.
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
                    f"{folder} has {len(files)}. Fix: give the whole data set."
                )
            # NumPy guarantees the raw output of PCG64 across versions.
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
