"""Values of --data, and named data sets."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cnn_blocks.errors import UserError
from search.data import data_sources, load_data, split_data

OFFLINE = """
from cnn_blocks.errors import UserError
from search.data import load_data
dataset = load_data("fashion_mnist")
assert dataset.images == 40 and dataset.image_shape == (28, 28, 3), dataset
assert dataset.class_names[9] == "Ankle boot"
try:
    load_data("cifar10")
except UserError as error:
    message = str(error)
assert "'cifar10' is not cached yet and cannot be downloaded" in message
assert "--data digits" in message and "CNN_SEARCH_CACHE" in message
"""


def test_digits_need_nothing_but_scikit_learn() -> None:
    dataset = load_data("digits")
    assert dataset.images == 1797
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.notes == ()
    images = dataset.arrays.development
    assert images.max() == 255
    assert 60 < images.mean() < 100
    assert (images[..., 0] == images[..., 2]).all()
    split = split_data(dataset, seed=0)
    assert len(split.train) + len(split.validation) < 1797


def test_keras_data_from_its_cache_and_without_a_network(tmp_path: Path, repository: Path) -> None:
    """Uses Keras' downloaded files if they exist; otherwise the error names the offline options."""
    folder = tmp_path / "keras" / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 30), ("t10k", 10)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">2i", 2049, count) + labels.tobytes())
        with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4i", 2051, count, 28, 28) + images.tobytes())
    environment = {
        **os.environ,
        "KERAS_HOME": str(tmp_path / "keras"),
        "https_proxy": "http://127.0.0.1:9",  # refuses every connection
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://example.org/photos.zip", "takes no URL; .* Fix: download it first"),
        ("cifar01", r"no data set, folder or file 'cifar01'. Did you mean 'cifar10'\?"),
        (
            "nowhere/at/all",
            "Expected one of digits, cifar10, .*an image folder, a .zip, .csv or .npz file",
        ),
    ],
)
def test_unknown_sources(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_data(source)


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_text("1,2")
    with pytest.raises(UserError, match=r"takes no \.tar file.* Fix: unpack archives"):
        load_data(tmp_path / "images.tar")


@pytest.mark.parametrize("size", [0, -3, (8, 0), (8, 8, 3)])
def test_illegal_sizes(size: int) -> None:
    with pytest.raises(UserError, match="--image-size is a number of pixels"):
        load_data("digits", image_size=size)


@pytest.mark.parametrize("limit", [-0.1, 1.5, float("nan")])
def test_illegal_limits(limit: float) -> None:
    with pytest.raises(UserError, match="--max-bad-files is a fraction"):
        load_data("digits", max_bad_files=limit)


def test_every_named_source_is_listed() -> None:
    names = [name for name, _ in data_sources()]
    assert {"digits", "cifar10", "cifar100", "mnist", "fashion_mnist"} < set(names)
    assert all(description for _, description in data_sources())
