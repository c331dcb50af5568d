"""A full disk while trials write their checkpoints."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.storage import TrialAttribute
from tests.support.fault_runs import Place

pytestmark = pytest.mark.faults

EPOCHS = 12
KIBIBYTE = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if mounted.returncode:
        pytest.skip(f"no right to mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_trials_go_on_without_checkpoints_on_a_full_disk(
    make_place: Callable[..., Place], small_disk: Path
) -> None:
    place = make_place(epochs=EPOCHS)
    place.runs = small_disk
    run = place.start(runs_directory=small_disk, workers=1, trials=2, retrain=False)
    run.wait_until(lambda: list(small_disk.glob("*/checkpoints/*/checkpoint.npz")))
    filler = small_disk / "filler"
    size = fill(filler)
    run.wait_until(lambda: "no checkpoint after epoch" in run.said())
    # A partially written checkpoint is removed: the disk is not fuller than before.
    assert list(small_disk.glob("**/.checkpoint.*")) == []
    run.succeeds()
    filler.unlink()

    trials = place.checked(2)
    assert size > 64 * KIBIBYTE
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert all(len(trial.intermediate_values) == EPOCHS for trial in trials)
    warned = [trial for trial in trials if TrialAttribute.WARNING in trial.user_attrs]
    assert warned
    assert "No space left on device" in warned[0].user_attrs[TrialAttribute.WARNING]
    for trial in warned:
        assert run.said().count(f"warning: trial {trial.number}:") == 1


def fill(path: Path) -> int:
    """Writes until nothing more fits; returns the number of bytes written."""
    written = 0
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                written += file.write(bytes(4 * KIBIBYTE))
        except OSError:
            return written
