"""A run's time plan: from the user's settings, at an image size that suits the time."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnn_blocks.errors import UserError
from search.data import Split
from search.optimize import planning
from search.optimize.budget import Budget
from search.optimize.planning import plan_run
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import DEFAULT_BUDGET_SECONDS, TimePlan
from search.system.runtime import Compute
from studies.study import StudySpec, load_study

SOURCE = '''
"""Networks of one stage."""
from studies.study import StudySpec
from tests.search.conftest import tiny_space


def space(trial):
    return tiny_space(trial)


study = StudySpec(name="mine", description="A study of one's own.", space=space)
'''

Plan = Callable[..., tuple[Split, TimePlan]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, speed: MachineSpeed) -> list[str]:
    """Replaces the speed measurement; returns a list that grows with each call."""
    asked: list[str] = []

    def measured_speed(compute: Compute) -> MachineSpeed:
        asked.append(compute.precision)
        return speed

    monkeypatch.setattr(planning, "measured_speed", measured_speed)
    monkeypatch.setattr(planning, "visible_gpus", dict)
    return asked


@pytest.fixture
def plan(digits: Split, measured: list[str]) -> Plan:
    """Plans a run on the digits."""

    def make(spec: StudySpec, budget: Budget, **options: Any) -> tuple[Split, TimePlan]:
        settings: dict[str, Any] = {
            "load": lambda size: digits,
            "sized": False,
            "compute": Compute(precision="float32", xla="off"),
            "spent_seconds": lambda: 2.5,
        }
        return plan_run(spec, budget, **(settings | options))

    return make


@pytest.mark.parametrize(
    ("given", "of_study", "expected"),
    [
        ({}, {}, DEFAULT_BUDGET_SECONDS),
        ({}, {"budget_seconds": 240.0}, 240.0),
        ({"seconds": 60.0}, {"budget_seconds": 240.0}, 60.0),
        ({"seconds": 60.0, "trials": 3}, {}, 60.0),
        ({"trials": 3}, {"budget_seconds": 240.0}, None),
        ({}, {"epochs": 2}, None),
        ({}, {"epochs": 2, "budget_seconds": 240.0}, 240.0),
    ],
)
def test_the_budget_is_the_given_one_or_the_studys_or_the_default(
    given: dict[str, Any], of_study: dict[str, Any], expected: float | None, timed_study: StudySpec
) -> None:
    assert Budget(**given).completed_by(timed_study.model_copy(update=of_study)).seconds == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 7),
        ({"retraining_epochs": 2}, 2),
        ({"retraining_seconds": 30.0}, None),
        ({"retraining_seconds": 30.0, "retraining_epochs": 2}, 2),
    ],
)
def test_the_studys_retraining_epochs_apply_unless_a_length_is_given(
    given: dict[str, Any], expected: int | None, timed_study: StudySpec
) -> None:
    spec = timed_study.model_copy(update={"retrain_epochs": 7})

    assert Budget(**given).completed_by(spec).retraining_epochs == expected


def test_lengths_in_epochs_need_no_measurement(
    plan: Plan, measured: list[str], tiny_study: StudySpec, digits: Split
) -> None:
    split, made = plan(tiny_study, Budget(trials=2))

    assert split is digits
    assert measured == []
    assert (made.trial_seconds, made.budget_seconds, made.speed) == (None, None, None)
    assert made.task.images == len(digits.train)
    assert (made.task.classes, made.task.image_shape) == (10, (32, 32, 3))


def test_a_plan_divides_the_remaining_time(
    plan: Plan, measured: list[str], timed_study: StudySpec
) -> None:
    _, made = plan(timed_study, Budget(seconds=120.0))

    assert measured == ["float32"]
    assert made.budget_seconds == 120.0
    assert made.search_seconds is not None and made.retraining_seconds is not None
    parts = made.search_seconds + made.retraining_seconds + made.closing_seconds
    assert parts == pytest.approx(120.0 - 3.0)


@pytest.mark.parametrize("sized", [True, False])
def test_images_are_reloaded_at_the_size_of_the_plan(
    sized: bool,
    plan: Plan,
    timed_study: StudySpec,
    digits: Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "working_size", lambda *_, **__: (24, 20))
    sizes: list[tuple[int, int] | None] = []

    def load(size: tuple[int, int] | None) -> Split:
        sizes.append(size)
        return digits

    _, made = plan(timed_study, Budget(), load=load, sized=sized)

    assert sizes == ([None] if sized else [None, (24, 20)])
    assert made.image_size == (None if sized else (24, 20))
    assert made.task.image_shape == ((32, 32, 3) if sized else (24, 20, 3))


def test_a_study_keeps_the_plan_it_was_started_with(
    plan: Plan, measured: list[str], timed_study: StudySpec, digits: Split
) -> None:
    known = TimePlan(budget_seconds=30.0, trial_seconds=2.0, image_size=(20, 16))
    sizes: list[tuple[int, int] | None] = []

    def load(size: tuple[int, int] | None) -> Split:
        sizes.append(size)
        return digits

    _, made = plan(timed_study, Budget(seconds=900.0), known=known, load=load)

    assert made is known
    assert (sizes, measured) == ([(20, 16)], [])


@pytest.fixture
def in_another_process(
    monkeypatch: pytest.MonkeyPatch, measured: list[str]
) -> Callable[[int], None]:
    """Simulates a machine with a GPU: a process that has not loaded the user's file plans."""

    def install(exit_code: int = 0) -> None:
        def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
            assert command[0] == sys.executable
            answer = io.BytesIO()
            with monkeypatch.context() as process:
                for name in [name for name in sys.modules if name.startswith("cnn_search_user")]:
                    process.delitem(sys.modules, name)
                process.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(options["input"])))
                process.setattr(sys, "stdout", io.TextIOWrapper(answer, write_through=True))
                planning.answer()
                written = answer.getvalue()
            return subprocess.CompletedProcess(command, exit_code, written)

        monkeypatch.setattr(planning, "visible_gpus", lambda: {"0": "a GPU"})
        monkeypatch.setattr(planning.subprocess, "run", run)  # type: ignore[attr-defined]

    return install


def test_with_a_gpu_a_subprocess_makes_the_same_plan(
    plan: Plan, in_another_process: Callable[[], None], tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    loaded = load_study(file)
    _, here = plan(loaded.spec, Budget(seconds=300.0))

    in_another_process()
    _, there = plan(loaded.spec, Budget(seconds=300.0), source=loaded.source)

    assert there == here


def test_an_error_of_the_planning_process_is_raised_here(
    plan: Plan, in_another_process: Callable[[], None], timed_study: StudySpec
) -> None:
    in_another_process()

    with pytest.raises(UserError, match="leaves no time for the search"):
        plan(timed_study, Budget(seconds=60.0, retraining_seconds=60.0))


def test_the_exit_code_of_a_dead_planning_process_is_reported(
    plan: Plan, in_another_process: Callable[[int], None], timed_study: StudySpec
) -> None:
    in_another_process(3)

    with pytest.raises(UserError, match="exited with code 3"):
        plan(timed_study, Budget(seconds=60.0))
