"""Fixtures for real runs, which leave no process behind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_runs import Place, places


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "image_cache"
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(folder))


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """A function that creates the `Place` of a study."""
    with places(tmp_path) as make:
        yield make
