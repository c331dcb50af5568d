"""Retraining and export, killed at every epoch and between files."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fault_runs import Place, Run, held_by

pytestmark = pytest.mark.faults

EPOCHS = 4
# Some of the files, in the order of writing.
FILES = ("model.keras", "history.csv", "learning_curve.png", "confusion_matrix.png")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixes the order of summation, so that weights can be compared bit by bit."""
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.mark.usefixtures("one_thread")
def test_a_retraining_killed_anywhere_ends_as_if_it_had_not_been(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(epochs=2)
    options: dict[str, Any] = {"trials": 1, "retraining_epochs": EPOCHS}
    place.start(**options).succeeds()
    (undisturbed,) = place.finished()
    # An equal training that has finished would only be shown.
    options["retrain_again"] = True

    for epoch in range(EPOCHS):
        kill_when(place, options, said="retraining\n" if epoch == 0 else f"retrained {epoch}\n")
        assert place.finished() == [undisturbed]
    folder = unfinished(place)
    for name in FILES:
        kill_when(place, options, written=folder / name)
        assert place.finished() == [undisturbed]
        check_files(folder)
    place.start(**options).succeeds()

    first, second = place.finished()
    assert sorted(path.name for path in second.iterdir()) == sorted(
        path.name for path in first.iterdir()
    )
    check_files(second)
    expected, received = metrics(first), metrics(second)
    assert received["test"] == expected["test"]
    assert received["search"] == expected["search"]
    for one, other in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(one, other)


def kill_when(
    place: Place, options: dict[str, Any], *, said: str = "", written: Path | None = None
) -> None:
    """Starts the command and kills it once it has printed `said` or written a file."""
    run = place.start(**options)
    run.wait_until(lambda: said in run.said() if written is None else written.exists(), every=0.001)
    run.kill_group()


def unfinished(place: Place) -> Path:
    """Returns the folder of the unfinished retraining; there is never more than one."""
    folders = [path.parent for path in (place.runs / place.name).glob("*/retraining.json")]
    folders = [folder for folder in folders if not (folder / "metrics.json").exists()]
    assert len(folders) <= 1
    return folders[0] if folders else place.folder / "none"


def check_files(folder: Path) -> None:
    """Checks that every visible file is complete."""
    import keras
    from PIL import Image

    for path in folder.iterdir():
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".keras":
            assert keras.models.load_model(path).output_shape == (None, 10)
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.name == "history.csv":
            with path.open() as file:
                assert len(list(csv.DictReader(file))) == EPOCHS
        else:
            assert path.stat().st_size > 0


def metrics(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return read


def weights(folder: Path) -> Iterator[np.ndarray[Any, Any]]:
    import keras

    yield from keras.models.load_model(folder / "model.keras").get_weights()


def test_two_commands_at_once_share_the_trials_and_retrain_once(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(epochs=30)
    runs: list[Run] = []
    first = place.start(workers=1, trials=5)
    first.wait_until(lambda: place.trials())
    runs = [first, place.start(workers=1, trials=5)]
    for run in runs:
        run.succeeds()

    trials = place.checked(5)
    assert len(held_by(trials)) == 2
    assert len(place.finished()) == 1
