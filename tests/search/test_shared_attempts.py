"""A trial goes on where its checkpoints are shared, on a machine that has none of its own."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from search.artifacts import open_artifacts
from search.attempts import checkpoint_folder, continue_later, remove_checkpoints
from search.data import Split
from search.objective import TrialContext
from search.outcomes import Outcome
from search.shared_checkpoints import SharedCheckpoints
from search.storage import open_storage, quiet_optuna
from search.trial_reporter import share_checkpoint
from studies.study import StudySpec


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    with quiet_optuna():
        storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}")
        yield optuna.create_study(storage=storage, study_name="shared")


def test_a_trial_goes_on_elsewhere(
    study: optuna.Study, tiny_study: StudySpec, digits: Split, tmp_path: Path
) -> None:
    artifacts, warnings = open_artifacts(tmp_path / "everywhere"), list[str]()
    here, there = tmp_path / "here", tmp_path / "there"
    context = TrialContext(
        spec=tiny_study,
        split=digits,
        metric="accuracy",
        seed=0,
        checkpoints=here,
        shared=SharedCheckpoints(artifacts, warn=warnings.append),
    )
    first = study.ask()
    (here / "trial_0").mkdir(parents=True)
    (here / "trial_0" / "checkpoint.npz").write_bytes(b"three epochs")
    share_checkpoint(first, context)
    continue_later(study, study.trials[0], Outcome.INTERRUPTED, "interrupted")

    second = study.ask()
    elsewhere = SharedCheckpoints(artifacts, warn=warnings.append)
    folder = checkpoint_folder(second, there, elsewhere)

    assert folder == there / "trial_1"
    assert (folder / "checkpoint.npz").read_bytes() == b"three epochs"
    assert checkpoint_folder(second, tmp_path / "third", None) == tmp_path / "third" / "trial_1"

    remove_checkpoints(study, second.number, there, elsewhere)

    assert not folder.exists()
    assert not elsewhere.pull("shared/trial_0", tmp_path / "fourth")
    assert warnings == []


def test_the_last_attempts_checkpoint_is_taken_wherever_it_is(
    study: optuna.Study, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shared = SharedCheckpoints(open_artifacts(tmp_path / "everywhere"), warn=print)
    for number, (machine, content) in enumerate([(here, b"three epochs"), (there, b"eight")]):
        trial = study.ask()
        folder = checkpoint_folder(trial, machine, shared)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.npz").unlink(missing_ok=True)
        (folder / "checkpoint.npz").write_bytes(content)
        assert shared.push(folder, f"shared/trial_{number}")
        continue_later(study, study.trials[number], Outcome.CRASHED, "died")
    # One more died here before it trained at all.
    study.ask()
    continue_later(study, study.trials[2], Outcome.CRASHED, "died")

    folder = checkpoint_folder(study.ask(), here, shared)

    assert (folder / "checkpoint.npz").read_bytes() == b"eight"
