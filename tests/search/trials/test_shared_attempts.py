"""With shared checkpoints a trial continues on a machine that has none of its own."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from search.data import Split
from search.storage import open_storage, quiet_optuna
from search.storage.artifacts import open_artifacts
from search.trials.attempts import continue_later, end_crashed
from search.trials.checkpoints import (
    checkpoint_folder,
    remove_checkpoints,
    remove_left_checkpoints,
    shared_name,
)
from search.trials.lease import Lease
from search.trials.outcomes import Outcome
from search.trials.reporter import share_checkpoint
from search.trials.shared_checkpoints import SharedCheckpoints
from studies.study import StudySpec
from tests.support.sessions import make_session


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    with quiet_optuna():
        storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}")
        yield optuna.create_study(storage=storage, study_name="shared")


def test_a_trial_continues_on_another_machine(
    study: optuna.Study, tiny_study: StudySpec, digits: Split, tmp_path: Path
) -> None:
    artifacts, warnings = open_artifacts(tmp_path / "everywhere"), list[str]()
    here, there = tmp_path / "here", tmp_path / "there"
    session = make_session(
        study,
        spec=tiny_study,
        split=digits,
        checkpoints=here,
        shared=SharedCheckpoints(artifacts, warn=warnings.append),
    )
    first = study.ask()
    (here / "trial_0").mkdir(parents=True)
    (here / "trial_0" / "checkpoint.npz").write_bytes(b"three epochs")
    share_checkpoint(first, session)
    continue_later(study, study.trials[0], Outcome.INTERRUPTED, "interrupted")

    second = study.ask()
    elsewhere = SharedCheckpoints(artifacts, warn=warnings.append)
    folder = checkpoint_folder(second, there, elsewhere)

    assert folder == there / "trial_1"
    assert (folder / "checkpoint.npz").read_bytes() == b"three epochs"
    assert checkpoint_folder(second, tmp_path / "third", None) == tmp_path / "third" / "trial_1"

    remove_checkpoints(study, second.number, there, elsewhere)

    assert not folder.exists()
    assert not elsewhere.pull(shared_name(study, study.trials[0]), tmp_path / "fourth")
    assert warnings == []


def test_the_latest_checkpoint_is_used_wherever_it_is(study: optuna.Study, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shared = SharedCheckpoints(open_artifacts(tmp_path / "everywhere"), warn=print)
    for number, (machine, content) in enumerate([(here, b"three epochs"), (there, b"eight")]):
        trial = study.ask()
        folder = checkpoint_folder(trial, machine, shared)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.npz").unlink(missing_ok=True)
        (folder / "checkpoint.npz").write_bytes(content)
        assert shared.push(folder, shared_name(study, study.trials[number]))
        continue_later(study, study.trials[number], Outcome.CRASHED, "died")
    # Another attempt died here before it trained at all.
    study.ask()
    continue_later(study, study.trials[2], Outcome.CRASHED, "died")

    folder = checkpoint_folder(study.ask(), here, shared)

    assert (folder / "checkpoint.npz").read_bytes() == b"eight"


def keep(study: optuna.Study, shared: SharedCheckpoints, folder: Path) -> optuna.trial.FrozenTrial:
    """Starts a trial and shares a checkpoint of it; returns the running trial."""
    trial = study.ask()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint.npz").write_bytes(b"an epoch")
    with Lease(trial):
        stored = study.trials[trial.number]
        assert shared.push(folder, shared_name(study, stored))
    return study.trials[trial.number]


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_failed_trial_leaves_no_shared_checkpoint(study: optuna.Study, tmp_path: Path) -> None:
    shared = SharedCheckpoints(open_artifacts(tmp_path / "everywhere"), warn=pytest.fail)
    first = keep(study, shared, tmp_path / "here")
    end_crashed(study, first, retries=1, shared=shared)
    assert len(kept(tmp_path / "everywhere")) == 1
    second = keep(study, shared, tmp_path / "here")
    assert len(kept(tmp_path / "everywhere")) == 2

    assert end_crashed(study, second, retries=1, shared=shared) is Outcome.FAILED

    assert kept(tmp_path / "everywhere") == []


def test_checkpoints_stored_too_late_are_removed_with_the_rest(
    study: optuna.Study, tmp_path: Path
) -> None:
    shared = SharedCheckpoints(open_artifacts(tmp_path / "everywhere"), warn=pytest.fail)
    end_crashed(study, keep(study, shared, tmp_path / "here"), retries=0)
    continue_later(study, keep(study, shared, tmp_path / "here"), Outcome.INTERRUPTED, "late")
    assert len(kept(tmp_path / "everywhere")) == 2

    remove_left_checkpoints(study, tmp_path / "here", shared)

    assert kept(tmp_path / "everywhere") == []
    assert not (tmp_path / "here").exists()


def test_after_a_failed_removal_the_store_is_not_asked_again(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, asked = open_artifacts(tmp_path / "everywhere"), list[str]()
    shared = SharedCheckpoints(artifacts, warn=lambda text: None)
    for _ in range(3):
        continue_later(study, keep(study, shared, tmp_path / "here"), Outcome.INTERRUPTED, "late")

    def refuse(name: str) -> None:
        asked.append(name)
        raise OSError("the store is away")

    monkeypatch.setattr(artifacts.store, "remove", refuse)
    remove_left_checkpoints(study, tmp_path / "here", shared)

    assert len(asked) == 1


def test_studies_with_the_same_name_share_no_checkpoint(
    study: optuna.Study, tmp_path: Path
) -> None:
    shared = SharedCheckpoints(open_artifacts(tmp_path / "everywhere"), warn=pytest.fail)
    other = optuna.create_study(
        storage=open_storage(f"sqlite:///{tmp_path / 'others.db'}"), study_name="shared"
    )
    for one in (study, other):
        continue_later(one, keep(one, shared, tmp_path / "here"), Outcome.INTERRUPTED, "later")
    remove_checkpoints(other, 0, tmp_path / "there", shared)

    folder = checkpoint_folder(study.ask(), tmp_path / "elsewhere", shared)

    assert (folder / "checkpoint.npz").exists()
