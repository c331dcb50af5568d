"""A supervisor's decisions, without workers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from search.engines.job import WorkerJob
from search.engines.supervision import Supervision
from search.engines.workers import WorkerLimits
from search.storage import open_storage, quiet_optuna
from search.trials.attempts import continue_later
from search.trials.outcomes import Outcome
from tests.support.sessions import make_session


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    with quiet_optuna():
        storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}")
        return optuna.create_study(storage=storage, direction="maximize")


def test_a_search_is_over_only_if_a_single_read_says_so(study: optuna.Study) -> None:
    notes: list[str] = []
    progress: Any = SimpleNamespace(note=notes.append)
    session = make_session(study, trials=1, progress=progress)
    job = WorkerJob(experiment=session.experiment)
    supervision = Supervision(session, job, limits=WorkerLimits())
    assert supervision.work_left().may_start
    study.ask()

    left = supervision.work_left()
    continue_later(study, study.trials[0], Outcome.INTERRUPTED, "interrupted")

    assert not left.may_start
    assert not supervision.is_over(left)
    assert notes == ["waiting for 1 trial of other processes"]
    assert supervision.work_left().may_start
    study.tell(study.ask(), 0.5)
    assert supervision.is_over(supervision.work_left())
