"""Complete runs with real trainings: search, interruption, resumption, retraining."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from cnn_blocks.errors import UserError
from search import pipeline
from search.engines.local.engine import LocalEngine
from search.errors import SearchFailure, SearchInterrupted
from search.optimize import opening, planning, stored_study, time_division
from search.optimize.budget import Budget
from search.optimize.winner import load_stored_study
from search.pipeline import run_study
from search.progress.events import Event, Note, Progress
from search.results.plan import Retraining, only_retraining
from search.results.run_result import RunResult
from search.results.summary import summarize_run
from search.sizing import time_plan
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import TimePlan
from search.storage import quiet_optuna
from search.trials.session import Session
from spaces.candidate import Candidate
from studies.study import StudySpec
from tests.search.optimize.test_stored_study import store_golden
from tests.support.attributes import candidate_of, stored_on

STUDY_FILE = '''
"""Networks of one stage."""
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged
from studies.study import StudySpec


def space(trial):
    backbone = staged(
        Plain(), filters=[trial.suggest_int("filters", 2, 64)], depth=1, reduction="max",
        place="first", dropout=[0.0],
    )
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=32, optimizer="adam"),
    )


study = StudySpec(
    name="long", description="Filters.", space=space, data="digits", trials=2, epochs=12,
    first_rung=12, retrain_epochs=1, workers=0,
)
'''

PLANNED_FILE = STUDY_FILE.replace("trials=2, epochs=12", "trials=2").replace(
    "first_rung=12, retrain_epochs=1, ", ""
)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Any]:
    return {"storage": f"sqlite:///{tmp_path / 'studies.db'}", "places": tmp_path / "runs"}


def test_a_study_completes_and_a_repeated_run_retrains(
    tiny_study: StudySpec,
    places: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = tiny_study.model_copy(update={"start": ({"filters": 3, "dropout": 0.0},)})

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as early, pytest.raises(SearchInterrupted):
        # Right after the study was created.
        early.setattr(stored_study, "remember_or_refuse", interrupt)
        run_study(spec, **places)
    result = run_study(spec, **places)

    assert capfd.readouterr() == ("", "")
    assert [trial.state.is_finished() for trial in result.study.trials] == [True] * 3
    assert result.study.trials[0].params == {"filters": 3, "dropout": 0.0}
    assert result.candidate == Candidate.from_json(candidate_of(result.study.best_trial))
    assert result.directory.parent == places["places"] / "tiny"
    assert (result.directory / "model.keras").is_file()
    assert result.model.output_shape == (None, 10)
    assert 0 <= result.metrics["test"]["accuracy"] <= 1
    assert result.study.metric_names == ["validation accuracy"]
    assert [opening["purpose"] for opening in result.study.user_attrs["test_openings"]] == [
        "final evaluation"
    ]
    assert Path(stored_on(result.study)["split_indices"]).is_file()
    assert "where the time went" in summarize_run(result)

    again = run_study(spec, **places)

    assert len(again.study.trials) == 3
    assert again.directory == result.directory
    assert again.metrics["test"] == result.metrics["test"]
    assert len(again.study.user_attrs["test_openings"]) == 1

    repeated = run_study(spec, retrain_again=True, **places)

    assert repeated.directory != result.directory
    assert len(repeated.metrics["test_openings"]) == 2
    assert repeated.metrics["test_openings"] == repeated.study.user_attrs["test_openings"]

    with pytest.raises(UserError, match=r"the metric \(stored: accuracy, received: loss\)"):
        run_study(tiny_study, metric="loss", **places)
    with pytest.raises(UserError, match="the seed"):
        run_study(tiny_study, seed=5, **places)


class Notes(Progress):
    """Collects the notes to the user."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def handle(self, event: Event) -> None:
        if isinstance(event, Note):
            self.lines.append(event.text)


@pytest.fixture
def quick_plans(monkeypatch: pytest.MonkeyPatch, speed: MachineSpeed) -> None:
    """Skips the speed measurement and limits trainings to a few passes."""
    for module in (planning, opening):
        monkeypatch.setattr(module, "measured_speed", lambda *_, **__: speed)
    for module in (time_plan, time_division):
        monkeypatch.setattr(module, "MOST_TRIAL_PASSES", 2.0)
        monkeypatch.setattr(module, "MOST_RETRAINING_PASSES", 3.0)
    # No candidate is too slow, however busy this machine is.
    monkeypatch.setattr(time_division, "_FEWEST_PART", 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_plans")
def test_two_concurrent_commands_use_the_first_plan(
    timed_study: StudySpec, places: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_plan = planning.plan_run
    settings = {**places, "trials": 1}

    def plan_slowly(*arguments: Any, **options: Any) -> Any:
        planned = make_plan(*arguments, **options)
        monkeypatch.setattr(pipeline, "plan_run", make_plan)
        run_study(timed_study, budget=Budget(seconds=20, retrain=False), **settings)
        return planned

    monkeypatch.setattr(pipeline, "plan_run", plan_slowly)
    joined = run_study(timed_study, budget=Budget(seconds=30, retrain=False), **settings)

    plan = TimePlan.model_validate_json(stored_on(joined.study)["time_plan"])
    assert plan.budget_seconds == 20


@pytest.mark.usefixtures("quick_plans")
def test_a_budget_is_divided_once_and_a_later_one_is_ignored(
    timed_study: StudySpec, places: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("workers would take longer to start than this search lasts")

    monkeypatch.setattr(LocalEngine, "search", refuse)
    progress = Notes()
    settings = {**places, "budget": 30, "trials": 2, "progress": progress}
    first = run_study(timed_study, workers="auto", **settings)

    stored = stored_on(first.study)["time_plan"]
    plan = TimePlan.model_validate_json(stored)
    assert plan.budget_seconds == 30
    assert plan.search_seconds is not None and plan.retraining_seconds is not None
    assert plan.describe() in progress.lines
    assert [trial.user_attrs["outcome"] for trial in first.study.trials][:1] == ["complete"]
    chosen = Candidate.from_json(candidate_of(first.study.trials[0])).training.steps
    assert chosen is not None and 1 <= chosen <= 2 * 1259 / 256 + 1
    assert first.metrics["retraining"]["epochs"] == pytest.approx(3, rel=0.1)
    assert set(first.study.user_attrs["seconds_by_phase"]) == {"search", "retraining"}

    for seconds, told in ((600, True), (30, False), (None, False)):
        again = Notes()
        budget = Budget(seconds=seconds, trials=2, retrain=False)
        later = run_study(timed_study, budget=budget, progress=again, **places)

        assert stored_on(later.study)["time_plan"] == stored
        assert len(later.study.trials) == 2
        assert any("keeps its first budget (30 s)" in line for line in again.lines) is told


def test_a_study_of_an_earlier_version_keeps_its_epochs(
    timed_study: StudySpec, places: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> MachineSpeed:
        raise AssertionError("there is nothing to plan")

    monkeypatch.setattr(planning, "measured_speed", refuse)
    spec = timed_study.model_copy(update={"pruner": lambda first_rung: NopPruner()})
    store_golden(places["storage"])

    run_study(spec, budget=Budget(trials=3, retrain=False), **places)
    result = run_study(spec, trials=4, **places)

    trials = result.study.trials
    assert [trial.user_attrs["epochs_trained"] for trial in trials] == [2, 2, 2, 2]
    assert [list(trial.intermediate_values) for trial in trials] == [[2, 4]] * 4
    assert result.metrics["retraining"]["epochs"] == 1


def test_the_retraining_can_be_left_to_another_run(
    tiny_study: StudySpec, places: dict[str, Any]
) -> None:
    settings = {**places, "trials": 1}

    searched = run_study(tiny_study, budget=Budget(retrain=False), **settings)
    retraining = Retraining(
        configuration=searched.configuration,
        split=searched.split,
        epochs=tiny_study.retrain_epochs,
    )
    with only_retraining(places["places"] / "tiny", retraining) as first:
        beside = run_study(tiny_study, **settings)

    assert first
    assert searched.output is None and beside.output is None
    assert "python -m search.export --study tiny" in summarize_run(beside)
    with pytest.raises(ValueError, match=r"did not\. Fix: run it without"):
        beside.model  # noqa: B018 - reading it is the point
    assert not list(places["places"].glob("tiny/*/model.keras"))


def test_a_signal_while_the_last_worker_ends_prevents_the_retraining(
    tiny_study: StudySpec, places: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(engine: LocalEngine, session: Session) -> None:
        session.interruption.requested = True

    monkeypatch.setattr(LocalEngine, "search", search)

    with pytest.raises(SearchInterrupted):
        run_study(tiny_study, workers=1, **places)


def test_a_study_runs_in_a_thread_with_another_name_and_metric(
    tiny_study: StudySpec, places: dict[str, Any]
) -> None:
    results: list[RunResult] = []
    settings = {**places, "trials": 1, "study_name": "by_loss", "metric": "loss"}
    thread = threading.Thread(target=lambda: results.append(run_study(tiny_study, **settings)))
    thread.start()
    thread.join()

    study = results[0].study
    assert study.study_name == "by_loss"
    assert study.direction is optuna.study.StudyDirection.MINIMIZE
    assert study.best_value == pytest.approx(study.best_trial.intermediate_values[4])


def test_a_study_without_a_usable_trial_fails_clearly(
    tiny_study: StudySpec, places: dict[str, Any]
) -> None:
    def broken(trial: Any) -> Candidate:
        candidate = tiny_study.space(trial)
        if isinstance(trial, optuna.Trial):
            raise RuntimeError("this space has a bug")
        return candidate

    with pytest.raises(SearchFailure, match="3 x failed: RuntimeError: this space has a bug"):
        run_study(tiny_study.model_copy(update={"space": broken}), **places)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"trials": 0}, "at least one trial"),
        ({"budget": -1.0}, "budget must be positive"),
        ({"metric": "precision"}, "must be one of accuracy"),
        (
            {"budget": Budget(retrain=False), "retrain_again": True},
            "--retrain-again with --no-retrain",
        ),
        ({"study_name": "../elsewhere"}, "letters, digits"),
        ({"storage": "studies.db"}, "database URL"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(
    tiny_study: StudySpec, places: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        run_study(tiny_study, **{**places, **arguments})

    assert not places["places"].exists()


def test_the_error_for_a_study_without_data_names_the_option(
    tiny_study: StudySpec, places: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="--data"):
        run_study(tiny_study.model_copy(update={"data": None}), **places)


def _command(tmp_path: Path, *options: str, text: str = STUDY_FILE) -> list[str]:
    file = tmp_path / "long.py"
    file.write_text(text)
    runs, storage = tmp_path / "runs", f"sqlite:///{tmp_path / 'studies.db'}"
    command = [sys.executable, "-m", "search.run", "--study", str(file), "--storage", storage]
    return [*command, "--runs-directory", str(runs), *options]


def _wait_for_checkpoint(tmp_path: Path, process: "subprocess.Popen[str]") -> None:
    """Waits until a trial has a checkpoint and, which follows it, a stored report."""
    deadline = time.monotonic() + 90
    while not (
        list((tmp_path / "runs/long/checkpoints").glob("*/checkpoint.npz"))
        and _stored(tmp_path).trials[0].intermediate_values
    ):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _stored(tmp_path: Path) -> optuna.Study:
    with quiet_optuna():
        return load_stored_study("long", f"sqlite:///{tmp_path / 'studies.db'}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_resumes_after_a_signal(
    number: signal.Signals, tmp_path: Path, repository: Path
) -> None:
    command = _command(tmp_path)
    with subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _wait_for_checkpoint(tmp_path, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)

    first = _stored(tmp_path).trials[0]
    if number == signal.SIGKILL:
        assert first.state is TrialState.RUNNING
    else:
        assert process.returncode == 130
        assert "run the same command to resume" in errors
        assert [trial.state for trial in _stored(tmp_path).trials] == [
            TrialState.FAIL,
            TrialState.WAITING,
        ]

    resumed = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=150)

    assert resumed.returncode == 0, resumed.stderr
    study = _stored(tmp_path)
    assert [trial.user_attrs["outcome"] for trial in study.trials] == [
        "crashed" if number == signal.SIGKILL else "interrupted",
        "complete",
        "complete",
    ]
    continued = study.trials[1]
    assert continued.params == study.trials[0].params
    assert continued.user_attrs["epochs_trained"] == 12
    kept = study.trials[0].intermediate_values
    assert kept and kept.items() <= continued.intermediate_values.items()
    assert not list((tmp_path / "runs/long/checkpoints").glob("*"))
    assert len(list((tmp_path / "runs/long").glob("*/model.keras"))) == 1
    with sqlite3.connect(tmp_path / "studies.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.slow
def test_a_planned_run_keeps_its_plan_after_a_kill(tmp_path: Path, repository: Path) -> None:
    command = _command(tmp_path, "--budget", "45s", text=PLANNED_FILE)
    with subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _wait_for_checkpoint(tmp_path, process)
        process.kill()
        process.communicate(timeout=60)
    begun = _stored(tmp_path)
    interrupted = Candidate.from_json(candidate_of(begun.trials[0]))
    assert interrupted.training.steps is not None

    command = _command(tmp_path, "--budget", "10m", text=PLANNED_FILE)
    resumed = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=150)

    assert resumed.returncode == 0, resumed.stderr
    assert "keeps its first budget (45 s)" in resumed.stdout + resumed.stderr
    study = _stored(tmp_path)
    assert stored_on(study)["time_plan"] == stored_on(begun)["time_plan"]
    continued = study.trials[1]
    assert continued.user_attrs["continues_trial"] == 0
    assert continued.params == study.trials[0].params
    trained = Candidate.from_json(candidate_of(continued)).training.steps
    assert trained == interrupted.training.steps
    assert len(list((tmp_path / "runs/long").glob("*/model.keras"))) == 1


LEAK = """
import sys
import psutil
from search import run_study
from search.progress.events import Progress, TrialFinished
from studies.study import load_study

process, resident = psutil.Process(), []

class Watch(Progress):
    def handle(self, event):
        if isinstance(event, TrialFinished):
            resident.append(process.memory_info().rss)

study = load_study(sys.argv[1]).spec

def same_network(trial):
    # Equal candidates are not trained twice; these differ in a negligible weight decay.
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-5)
    fixed = type("Fixed", (), {"suggest_int": lambda self, name, low, high: 16})()
    return study.space(fixed).with_training(optimizer="adamw", weight_decay=decay)

leak = study.model_copy(update={"name": "leak", "space": same_network, "epochs": 1})
run_study(leak, trials=30, progress=Watch())
print(len(resident), resident[2], resident[-1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_trials(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "long.py").write_text(STUDY_FILE)
    ended = subprocess.run(
        [sys.executable, "-c", LEAK, str(tmp_path / "long.py")],
        cwd=tmp_path,
        env={**dict(psutil.Process().environ()), "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert ended.returncode == 0, ended.stderr
    trials, third, last = map(int, ended.stdout.split()[-3:])
    assert trials == 30
    assert last < 1.15 * third
