"""A checkpoint that cannot be written does not end the training."""

import errno
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cnn_blocks.config import InputSpec
from search.data import Subset
from search.training import ValidationReport, fit
from search.training.checkpoint import Checkpoint
from spaces.candidate import Candidate
from tests.support.listening import Listening

_LIMIT = 4096


@contextmanager
def no_room() -> Iterator[None]:
    """Limits the size of this process's files to a few kilobytes, like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_earlier_checkpoint_stays_and_the_half_of_the_new_one_goes(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, identity="mine")
    checkpoint.write({"epoch": 1}, {"model": [np.zeros(10_000)]})

    with no_room(), pytest.raises(OSError) as raised:
        checkpoint.write({"epoch": 2}, {"model": [np.zeros(10_000)]})

    assert raised.value.errno == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]
    saved = checkpoint.read()
    assert saved is not None
    assert saved[0] == {"epoch": 1}


@pytest.mark.usefixtures("saved_at_once")
def test_a_training_goes_on_says_so_once_and_saves_again_when_it_can(
    digits: tuple[Subset, Subset],
    spec: InputSpec,
    candidate: Callable[..., Candidate],
    tmp_path: Path,
) -> None:
    warnings: list[str] = []
    saved_after: list[int] = []
    full = no_room()

    def on_report(report: ValidationReport) -> None:
        saved_after.append(len(_rows(tmp_path)))
        if report.epoch == 1:
            full.__enter__()
        if report.epoch == 3:
            full.__exit__(None, None, None)

    result = fit(
        candidate(epochs=4),
        digits[0],
        spec=spec,
        validation=digits[1],
        seed=0,
        listener=Listening(on_report=on_report, on_warning=warnings.append),
        checkpoint_directory=tmp_path,
    )

    assert result.epochs_trained == 4
    assert saved_after == [1, 1, 1, 4]
    assert warnings == ["no checkpoint after epoch 2: File too large"]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


def _rows(folder: Path) -> list[dict[str, float]]:
    with np.load(folder / "checkpoint.npz") as file:
        rows: list[dict[str, float]] = json.loads(str(file["header"]))["state"]["rows"]
    return rows
