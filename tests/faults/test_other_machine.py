"""A study continues on a machine that only has its storage and its artifacts."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.storage import TrialAttribute
from search.storage.artifacts import artifacts_of, open_artifacts
from search.trials.outcomes import Outcome
from tests.support.fault_runs import STUDY, Place, with_outcome

pytestmark = pytest.mark.faults

EPOCHS, TRIALS, LEAST_TRAINED = 80, 2, 10
# Sharing once a minute is too slow for a test.
OFTEN = """
from search.trials import reporter as trial_reporter
trial_reporter._SECONDS_BETWEEN_SHARED = 0.5
"""


def test_a_trial_goes_on_without_the_folder_of_the_machine_that_died(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    place, shared = make_place(epochs=EPOCHS, study=STUDY + OFTEN), tmp_path / "everywhere"
    options: dict[str, Any] = {"workers": 1, "trials": TRIALS, "artifacts": str(shared)}
    run = place.start(**options)
    run.wait_until(lambda: place.running(trained=LEAST_TRAINED) and kept(shared))
    run.kill_group()
    (dead,) = place.running()
    (checkpoint,) = kept(shared)
    epochs = epochs_of(checkpoint)
    assert epochs > 0
    shutil.rmtree(place.runs)

    run = place.start(**options)
    run.succeeds()

    trials = place.checked(TRIALS)
    assert [trial.number for trial in with_outcome(trials, Outcome.CRASHED)] == [dead.number]
    (later,) = [t for t in trials if t.user_attrs.get(TrialAttribute.CONTINUES) == dead.number]
    seen = re.search(rf"trial {later.number} first seen at epoch ([\d.]+)", run.said())
    assert seen
    print(
        f"died after {max(dead.intermediate_values)} epochs, {epochs} of them kept elsewhere: ",
        end="",
    )
    print(f"seen again at epoch {float(seen[1]):.2f}")
    assert float(seen[1]) > epochs
    assert sorted(later.intermediate_values) == list(range(1, EPOCHS + 1))
    before = dead.intermediate_values
    assert before == {step: later.intermediate_values[step] for step in before}
    place.best()

    # The artifacts hold the run's results, and no checkpoints any more.
    (folder,) = place.finished()
    artifacts, store = artifacts_of(place.study()), open_artifacts(shared).store
    found = {artifact.filename: artifact.artifact_id for artifact in artifacts}
    results = [path for path in folder.iterdir() if path.is_file()]
    assert set(found) == {f"{folder.name}_{path.name}" for path in results}
    for path in results:
        with store.open_reader(found[f"{folder.name}_{path.name}"]) as file:
            assert file.read() == path.read_bytes()
    assert [path for path in (shared / "checkpoints").rglob("*") if path.is_file()] == []


def kept(shared: Path) -> list[Path]:
    """Returns the checkpoints among the artifacts."""
    return list(shared.glob("checkpoints/**/*.npz"))


def epochs_of(checkpoint: Path) -> int:
    """Returns the number of epochs in a checkpoint."""
    with np.load(checkpoint) as file:
        return len(json.loads(str(file["header"]))["state"]["rows"])
