"""The feature cache: computed once for all processes, checked when opened, bounded in size."""

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.training.features.cache import (
    Computation,
    FeatureCache,
    Features,
    FeaturesUnavailableError,
)

ENTRY_BYTES = 100 * 8 * 2


def _values(seed: int = 0) -> Features:
    return np.random.default_rng(seed).random((100, 8)).astype(np.float16)


def _computation(values: Features, calls: list[int] | None = None) -> Callable[[], Computation]:
    def compute() -> Computation:
        if calls is not None:
            calls.append(1)
        return Computation(values.shape, 7, [values[:60], values[60:]])

    return compute


def _never() -> Computation:
    raise AssertionError("computed again")


def _wait() -> None:
    raise AssertionError("nobody else computes")


def test_an_entry_is_computed_once_and_read_by_all_that_follow(tmp_path: Path) -> None:
    made = FeatureCache(tmp_path).fetch("a", _computation(_values()), waiting=_wait)
    read = FeatureCache(tmp_path).fetch("a", _never, waiting=_wait)

    for entry in (made, read):
        np.testing.assert_array_equal(entry.features, _values())
        assert entry.parameters == 7
        assert _is_memory_mapped(entry.features)


@pytest.mark.parametrize("name", ["features.float16", "description.json"])
@pytest.mark.parametrize("damage", ["truncated", "zeroed", "missing"])
def test_a_damaged_entry_is_computed_again(tmp_path: Path, name: str, damage: str) -> None:
    FeatureCache(tmp_path).fetch("a", _computation(_values()), waiting=_wait)
    path = tmp_path / "features" / "a" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:-20])
    elif damage == "zeroed":
        path.write_bytes(bytes(len(content)))
    calls: list[int] = []

    entry = FeatureCache(tmp_path).fetch("a", _computation(_values(), calls), waiting=_wait)

    assert calls == [1]
    np.testing.assert_array_equal(entry.features, _values())
    assert _names(tmp_path) == ["a"]


def test_a_failed_computation_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Iterator[Features]:
        yield _values()[:60]
        raise KeyboardInterrupt

    cache = FeatureCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch("a", lambda: Computation((100, 8), 7, fail()), waiting=_wait)

    assert _names(tmp_path) == []
    cache.fetch("a", _computation(_values()), waiting=_wait)


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, limit=3 * ENTRY_BYTES)
    for number, key in enumerate("abc"):
        cache.fetch(key, _computation(_values(number)), waiting=_wait)
        _last_used(tmp_path, key, 1000 + number)
    kept = cache.fetch("a", _never, waiting=_wait)
    cache.touch("c")

    cache.fetch("d", _computation(_values(3)), waiting=_wait)

    assert _names(tmp_path) == ["a", "c", "d"]

    _last_used(tmp_path, "a", 1000)
    cache.fetch("b", _computation(_values(1)), waiting=_wait)

    assert _names(tmp_path) == ["b", "c", "d"]
    # An open entry stays usable after its removal.
    np.testing.assert_array_equal(kept.features, _values(0))


def test_what_exceeds_the_limit_is_not_computed_and_displaces_nothing(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, limit=ENTRY_BYTES)
    cache.fetch("a", _computation(_values()), waiting=_wait)

    def batches() -> Iterator[Features]:
        raise AssertionError("computed in vain")
        yield

    with pytest.raises(FeaturesUnavailableError, match="--cache-limit"):
        cache.fetch("b", lambda: Computation((101, 8), 7, batches()), waiting=_wait)

    assert _names(tmp_path) == ["a"]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")

    with pytest.raises(FeaturesUnavailableError, match="cannot be used"):
        FeatureCache(occupied).fetch("a", _computation(_values()), waiting=_wait)


COMPUTE = """
import sys, time
from pathlib import Path

import numpy as np

from search.training.features.cache import Computation, FeatureCache

folder = Path(sys.argv[1])

def batches():
    with (folder / "computed").open("a") as log:
        log.write("once ")
    for number in range(10):
        time.sleep(0.1)
        yield np.full((10, 8), number, np.float16)

cache = FeatureCache(folder)
entry = cache.fetch("a", lambda: Computation((100, 8), 7, batches()), waiting=lambda: None)
print(float(entry.features.sum()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="without fcntl each process computes")
def test_of_several_processes_one_computes(tmp_path: Path, repository: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPUTE, str(tmp_path)],
            cwd=repository,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert outputs == ["3600.0\n"] * 3
    assert (tmp_path / "computed").read_text() == "once "


@pytest.mark.skipif(sys.platform == "win32", reason="without fcntl nobody waits")
def test_waiting_can_be_interrupted_and_a_dead_process_holds_nobody_up(
    tmp_path: Path, repository: Path
) -> None:
    code = COMPUTE.replace("time.sleep(0.1)", "time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=repository)
    try:
        while not (tmp_path / "computed").exists():
            assert process.poll() is None

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            FeatureCache(tmp_path).fetch("a", _never, waiting=interrupt)
    finally:
        process.kill()
        process.wait()

    entry = FeatureCache(tmp_path).fetch("a", _computation(_values()), waiting=_wait)
    np.testing.assert_array_equal(entry.features, _values())


def _is_memory_mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def _names(cache: Path) -> list[str]:
    return sorted(path.parent.name for path in (cache / "features").glob("[a-z]/description.json"))


def _last_used(cache: Path, key: str, seconds: float) -> None:
    os.utime(cache / "features" / key / "description.json", (seconds, seconds))
