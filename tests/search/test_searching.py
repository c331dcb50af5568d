"""The loop: totals, budgets, interruptions, and trials whose process is gone.

Trials are replaced by short functions, except where a test says otherwise.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from search import searching
from search.data import Split
from search.errors import SearchFailure, SearchInterrupted
from search.interruption import Interruption
from search.objective import Outcome, TrialContext, TrialResult, identify_process
from search.searching import count_outcomes, recover_abandoned, search
from search.storage import TrialAttribute, open_storage, quiet_optuna
from studies.study import StudySpec

Body = Callable[[optuna.Trial, TrialContext], TrialResult]


@pytest.fixture
def context(tiny_study: StudySpec, digits: Split, tmp_path: Path) -> TrialContext:
    return TrialContext(
        spec=tiny_study, split=digits, metric="accuracy", seed=0, checkpoints=tmp_path / "c"
    )


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    with quiet_optuna():
        yield optuna.create_study(
            storage=open_storage(f"sqlite:///{tmp_path / 'studies.db'}"),
            study_name="tiny",
            direction="maximize",
        )


@pytest.fixture
def trials_are(monkeypatch: pytest.MonkeyPatch) -> Callable[[Body], None]:
    return lambda body: monkeypatch.setattr(searching, "run_trial", body)


def complete(trial: optuna.Trial, context: TrialContext) -> TrialResult:
    value = trial.suggest_float("x", 0, 1)
    trial.set_user_attr(TrialAttribute.OUTCOME, Outcome.COMPLETE)
    trial.study.tell(trial, value)
    return TrialResult(Outcome.COMPLETE, value)


def test_the_total_counts_earlier_starts(
    study: optuna.Study, context: TrialContext, trials_are: Callable[[Body], None]
) -> None:
    trials_are(complete)

    search(study, context, trials=3, budget_seconds=None)
    search(study, context, trials=3, budget_seconds=None)
    assert len(study.trials) == 3

    search(study, context, trials=5, budget_seconds=None)
    assert len(study.trials) == 5


def test_an_interrupted_trial_is_continued_and_counts_once(
    study: optuna.Study, context: TrialContext, trials_are: Callable[[Body], None]
) -> None:
    def interrupt(trial: optuna.Trial, context: TrialContext) -> TrialResult:
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr(TrialAttribute.CANDIDATE, "the candidate")
        trial.set_user_attr(TrialAttribute.CHECKPOINTS, "trial_0")
        if 2 not in trial.storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(0.4, 2)
        raise KeyboardInterrupt

    trials_are(interrupt)
    for _ in range(3):
        with pytest.raises(SearchInterrupted):
            search(study, context, trials=2, budget_seconds=None)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * 3 + [TrialState.WAITING]

    trials_are(complete)
    search(study, context, trials=2, budget_seconds=None)

    counts = count_outcomes(study)
    assert counts == {Outcome.INTERRUPTED: 3, Outcome.COMPLETE: 2}
    first, last = study.trials[0], study.trials[3]
    assert first.user_attrs["reason"] == "interrupted"
    assert last.params == first.params
    assert last.intermediate_values == {2: 0.4}
    assert last.user_attrs["continues_trial"] == 2
    assert last.user_attrs["checkpoints"] == "trial_0"


def test_a_signal_between_two_trials_stops_before_the_next(
    study: optuna.Study, context: TrialContext, trials_are: Callable[[Body], None]
) -> None:
    def finish_and_signal(trial: optuna.Trial, context: TrialContext) -> TrialResult:
        os.kill(os.getpid(), signal.SIGINT)
        return complete(trial, context)

    trials_are(finish_and_signal)
    with Interruption() as interruption, pytest.raises(SearchInterrupted):
        interruptible = TrialContext(**{**vars(context), "interruption": interruption})
        search(study, interruptible, trials=5, budget_seconds=None)

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_no_trial_starts_after_the_budget_not_even_at_the_next_start(
    study: optuna.Study, context: TrialContext, trials_are: Callable[[Body], None]
) -> None:
    def slowly(trial: optuna.Trial, context: TrialContext) -> TrialResult:
        time.sleep(0.2)
        return complete(trial, context)

    trials_are(slowly)
    search(study, context, trials=100, budget_seconds=0.5)
    done = len(study.trials)
    search(study, context, trials=100, budget_seconds=0.5)

    assert 1 <= done <= 4
    assert len(study.trials) == done
    assert study.user_attrs["search_seconds"] >= 0.5


def test_no_trial_starts_that_could_not_complete_in_time(
    study: optuna.Study, context: TrialContext, trials_are: Callable[[Body], None]
) -> None:
    def claim_an_hour(trial: optuna.Trial, context: TrialContext) -> TrialResult:
        trial.set_user_attr(TrialAttribute.SECONDS, 3600.0)
        trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, 2)
        return complete(trial, context)

    trials_are(claim_an_hour)
    search(study, context, trials=100, budget_seconds=600)

    assert len(study.trials) == 1


def test_the_running_trial_is_told_when_the_budget_is_over(
    study: optuna.Study, context: TrialContext, trials_are: Callable[[Body], None]
) -> None:
    reasons = []

    def ask(trial: optuna.Trial, context: TrialContext) -> TrialResult:
        reasons.append(context.stop_reason())
        time.sleep(0.3)
        reasons.append(context.stop_reason())
        return complete(trial, context)

    trials_are(ask)
    search(study, context, trials=2, budget_seconds=0.5)

    # The first trial may go on as long as none is complete.
    assert reasons == [None, None, None, "the search's budget of 0.5 s is over"]


def test_a_search_in_which_every_trial_fails_says_so(
    study: optuna.Study, context: TrialContext, trials_are: Callable[[Body], None]
) -> None:
    def fail(trial: optuna.Trial, context: TrialContext) -> TrialResult:
        trial.set_user_attr(TrialAttribute.OUTCOME, Outcome.FAILED)
        trial.set_user_attr(TrialAttribute.REASON, "RuntimeError: no luck")
        trial.study.tell(trial, state=TrialState.FAIL)
        return TrialResult(Outcome.FAILED, None, "RuntimeError: no luck")

    trials_are(fail)

    with pytest.raises(SearchFailure, match="3 x failed: RuntimeError: no luck"):
        search(study, context, trials=3, budget_seconds=None)


ORPHAN = """
import sys, time
import optuna
from search.objective import identify_process
from search.storage import open_storage, quiet_optuna
with quiet_optuna():
    study = optuna.load_study(study_name="tiny", storage=open_storage(sys.argv[1]))
trial = study.ask()
trial.suggest_float("x", 0, 1)
identify_process(trial)
trial.set_user_attr("checkpoints", "trial_0")
print("running", flush=True)
time.sleep(60)
"""


def test_a_killed_processs_trial_is_continued_and_a_live_ones_left_alone(
    study: optuna.Study, context: TrialContext, tmp_path: Path, repository: Path
) -> None:
    command = [sys.executable, "-c", ORPHAN, f"sqlite:///{tmp_path / 'studies.db'}"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        assert recover_abandoned(study, context.checkpoints) == []
        process.kill()

    assert recover_abandoned(study, context.checkpoints) == [0]
    assert recover_abandoned(study, context.checkpoints) == []

    dead, waiting = study.trials
    assert dead.state is TrialState.FAIL
    assert dead.user_attrs["outcome"] == "interrupted"
    assert dead.user_attrs["reason"] == "its process died"
    assert waiting.state is TrialState.WAITING
    assert waiting.system_attrs["fixed_params"] == dead.params
    assert waiting.user_attrs["checkpoints"] == "trial_0"


def _running(study: optuna.Study, **attributes: Any) -> None:
    trial = study.ask()
    identify_process(trial)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)


def test_trials_of_other_machines_are_left_alone(
    study: optuna.Study, context: TrialContext
) -> None:
    _running(study, host=f"not-{socket.gethostname()}", process=1, process_started=0.0)

    assert recover_abandoned(study, context.checkpoints) == []


def test_another_process_with_the_same_id_is_not_the_trials(
    study: optuna.Study, context: TrialContext
) -> None:
    _running(study, process_started=psutil.Process().create_time() - 3600)

    assert recover_abandoned(study, context.checkpoints) == [0]


def test_a_trial_that_kills_its_process_again_and_again_fails(
    study: optuna.Study, context: TrialContext
) -> None:
    (context.checkpoints / "trial_0").mkdir(parents=True)
    for _ in range(3):
        _running(study, process_started=0.0, checkpoints="trial_0")
        recover_abandoned(study, context.checkpoints)

    last = study.trials[-1]
    assert len(study.trials) == 3
    assert last.user_attrs["outcome"] == "failed"
    assert last.user_attrs["reason"] == "its process died 3 times"
    assert not (context.checkpoints / "trial_0").exists()


def test_a_death_between_enqueueing_and_ending_enqueues_once(
    study: optuna.Study, context: TrialContext
) -> None:
    _running(study, process_started=0.0)
    running = study.trials[0]
    study.add_trial(searching._continuation(running, 0))

    recover_abandoned(study, context.checkpoints)

    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
