"""Checkpoints are atomic, and only the training that wrote one reads it."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.training.checkpoint import Arrays, Checkpoint


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "new" / "folder", identity="mine")
    state = {"rows": [{"loss": 0.1}], "best": math.inf, "stopped": False}
    # More than ten arrays: their order is the order of writing, not of names.
    arrays: dict[str, Arrays] = {
        "model": [np.full((2, i), i, np.float32) for i in range(12)],
        "optimizer": [np.array(7, np.int64)],
    }

    checkpoint.write(state, arrays)
    read = checkpoint.read()

    assert read is not None
    assert read[0] == state
    assert list(read[1]) == ["model", "optimizer"]
    for name, group in arrays.items():
        for written, found in zip(group, read[1][name], strict=True):
            np.testing.assert_array_equal(found, written)
            assert found.dtype == written.dtype


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path, identity="mine").read() is None


def test_another_trainings_checkpoint_is_not_read(tmp_path: Path) -> None:
    Checkpoint(tmp_path, identity="mine").write({}, {"model": [np.zeros(1)]})

    assert Checkpoint(tmp_path, identity="another").read() is None
    assert Checkpoint(tmp_path, identity="mine").read() is not None


def test_a_failed_write_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path, identity="mine")
    checkpoint.write({"epoch": 1}, {"model": [np.zeros(3)]})

    def disk_is_full(*arguments: object, **named: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", disk_is_full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.write({"epoch": 2}, {"model": [np.ones(3)]})

    read = checkpoint.read()
    assert read is not None
    assert read[0] == {"epoch": 1}


def test_a_process_killed_while_writing_leaves_the_last_checkpoint(
    tmp_path: Path, repository: Path
) -> None:
    # The process writes one whole checkpoint and dies while it writes the second one.
    code = f"""
import os, signal
from pathlib import Path
import numpy as np
from search.training.checkpoint import Checkpoint
checkpoint = Checkpoint(Path({str(tmp_path)!r}), identity="mine")
checkpoint.write({{"epoch": 1}}, {{"model": [np.zeros(3)]}})
Path.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
checkpoint.write({{"epoch": 2}}, {{"model": [np.ones(3)]}})
"""
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, env=environment)

    read = Checkpoint(tmp_path, identity="mine").read()

    assert done.returncode == -9
    assert read is not None
    assert read[0] == {"epoch": 1}


def test_a_torn_file_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, identity="this")
    checkpoint.write({"epoch": 1}, {"model": [np.arange(1000.0)]})
    whole = checkpoint.path.read_bytes()

    for size in (0, 10, len(whole) // 2):
        checkpoint.path.write_bytes(whole[:size])
        assert checkpoint.read() is None
