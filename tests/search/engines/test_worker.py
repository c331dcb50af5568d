"""A worker up to its first trial, without any training."""

import importlib
import pickle
import sys
import threading
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, cast

import optuna
import pytest

from cnn_blocks.errors import UserError
from search.engines import worker as worker_module
from search.engines.job import WorkerJob
from search.engines.messages import CannotWork
from search.engines.worker import EXPLAINED, run_worker, work
from search.optimize import opening
from search.storage import open_storage, quiet_optuna
from search.trials.experiment import Experiment
from studies.study import StudySpec
from tests.support.sessions import make_experiment

_SPLIT = cast(Any, "never looked at")


class _ReadyError(Exception):
    """Raised to stop a worker at the point that a test checks."""


@pytest.fixture(autouse=True)
def _no_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "start_keras", lambda: None)
    monkeypatch.setattr(opening, "FeatureSource", lambda *given, **options: None)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with quiet_optuna():
        optuna.create_study(study_name="tiny", storage=open_storage(url))
    return url


def _job(**changes: Any) -> WorkerJob:
    return WorkerJob(experiment=make_experiment(**changes), memory_bytes=2**30)


def test_the_studys_trials_are_read_before_the_worker_is_ready(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    read = optuna.Study.get_trials

    def get_trials(study: optuna.Study, *given: Any, **options: Any) -> Any:
        happened.append("read")
        return read(study, *given, **options)

    def ready() -> None:
        happened.append("ready")
        raise _ReadyError

    monkeypatch.setattr(optuna.Study, "get_trials", get_trials)
    with pytest.raises(_ReadyError):
        run_worker(_job(storage=storage), split=_SPLIT, before_work=ready)

    assert happened == ["read", "ready"]


def test_a_worker_sends_heartbeats_while_images_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_SECONDS_BETWEEN_SIGNS", 0.01)
    alive = threading.Event()

    def load_slowly(experiment: Experiment) -> None:
        assert alive.wait(60)
        raise _ReadyError

    monkeypatch.setattr(Experiment, "load_split", load_slowly)
    with pytest.raises(_ReadyError):
        run_worker(_job(), sign_of_life=alive.set)
    assert not [thread for thread in threading.enumerate() if thread.name == "sign of life"]


def test_a_study_that_cannot_be_imported_is_reported_with_a_fix(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_spaces.py").write_text("def space(trial): ...\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        space = importlib.import_module("my_spaces").space
        spec = StudySpec(name="mine", description="Mine.", space=space)
        sent = pickle.dumps(_job(storage=storage, spec=spec))
    del sys.modules["my_spaces"]
    with pytest.raises(UserError, match=r"No module named 'my_spaces'.*PYTHONPATH"):
        run_worker(pickle.loads(sent), split=_SPLIT)

    ours, theirs = Pipe()
    with ours:
        assert work(theirs, pickle.loads(sent), "a worker", split=_SPLIT) == EXPLAINED
        said = [ours.recv() for _ in range(2)]
    (reason,) = [message for message in said if isinstance(message, CannotWork)]
    assert reason.is_user_error
    assert "No module named 'my_spaces'" in reason.text
