"""What a supervisor decides, without workers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from search.engines.job import WorkerLimits
from search.engines.supervision import Supervision
from search.optimize.budget import Budget
from search.storage import open_storage, quiet_optuna
from search.trials.attempts import continue_later
from search.trials.lease import LEASE_SECONDS
from search.trials.outcomes import Outcome


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    with quiet_optuna():
        storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}")
        return optuna.create_study(storage=storage, direction="maximize")


def test_a_search_is_over_when_one_look_says_so(study: optuna.Study) -> None:
    notes: list[str] = []
    context: Any = SimpleNamespace(progress=SimpleNamespace(note=notes.append))
    job: Any = SimpleNamespace(trials=1, lease_seconds=LEASE_SECONDS)
    supervision = Supervision(study, context, job, budget=Budget(None), limits=WorkerLimits())
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
