"""Fixtures that every test may use: real images, and a clean Keras session after a test."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgresql import postgresql_cluster

__all__ = ["postgresql_cluster"]

REPOSITORY = Path(__file__).resolve().parent.parent

# Before anything imports Keras: the tested reference is TensorFlow, on the CPU, quietly, with the
# convolutions that `start_keras` chooses.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: CNN_SEARCH_DATA, or shared/data beside the repository.

    Skips the test, and says why, where there is none.
    """
    named = os.environ.get("CNN_SEARCH_DATA")
    folder = Path(named).expanduser() if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is not a folder (set CNN_SEARCH_DATA to one)")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _what_earlier_modules_left_is_not_collected_again() -> None:
    """Spares later tests the search for garbage among the objects of earlier ones.

    Every trial collects garbage when it ends, which takes a second where a test process has grown.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fresh_keras_session() -> Iterator[None]:
    """Frees the models that a test left; a test that never imported Keras pays nothing."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)
