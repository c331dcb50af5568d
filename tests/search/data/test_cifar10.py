"""The real CIFAR-10 images: first load, cached load, split."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

import pytest

from search.data import load_data, split_data

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"


@pytest.mark.slow
def test_all_60000_images(real_data: Path, tmp_path: Path) -> None:
    archive = real_data / "cifar10-jpeg.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no real images: {archive} is not a file")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "cifar10", filter="data")
    first = load_data(tmp_path / "cifar10")
    started = time.monotonic()
    later = load_data(tmp_path / "cifar10")
    split = split_data(later, seed=0)
    seconds = time.monotonic() - started
    assert later.fingerprint == first.fingerprint
    assert " ".join(later.class_names) == CLASSES
    assert later.image_shape == (32, 32, 3)
    assert (len(split.train), len(split.validation)) == (42_500, 7_500)
    assert split.validation.class_counts(10).tolist() == [750] * 10
    assert 0.4 < min(split.spec.channel_mean) < max(split.spec.channel_mean) < 0.55
    assert seconds < 2.0
