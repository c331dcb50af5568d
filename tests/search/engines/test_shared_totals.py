"""Several processes ask for trials at once: the total stays exact. Trials are short functions."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.storage import TrialAttribute
from search.trials.outcomes import Outcome, count_outcomes, counts, outcome_of

WORKERS = 4
# A worker with a replaced trial, which crashes or is interrupted as its options say.
WORKER = """
import json, os, random, sys, time
import optuna
from search.optimize import loop as searching
from search.trials.objective import TrialResult
from search.trials.outcomes import Outcome
from search.storage import TrialAttribute, open_storage, quiet_optuna
from tests.support.sessions import make_session

url, trials, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

def run_trial(trial, session, lease):
    value = trial.suggest_float("x", 0, 1)
    trial.report(value, trial.user_attrs.get("continues_trial", -1) + 1)
    time.sleep(random.uniform(0, 0.05))
    if random.random() < options.get("dies", 0):
        os._exit(9)
    if random.random() < options.get("interrupted", 0):
        raise KeyboardInterrupt
    trial.set_user_attr(TrialAttribute.OUTCOME, Outcome.COMPLETE)
    trial.study.tell(trial, value)
    return TrialResult(Outcome.COMPLETE, value)

searching.run_trial = run_trial
with quiet_optuna():
    sampler = optuna.samplers.RandomSampler()
    study = optuna.load_study(study_name="tiny", storage=open_storage(url), sampler=sampler)
    session = make_session(study, trials=trials)
    print("ready", flush=True)
    sys.stdin.readline()
    if "search" in options:
        searching.search(session)
    else:
        searching.run_trials(session)
"""


@pytest.fixture
def work(url: str, repository: Path) -> Callable[..., list[int]]:
    """Runs concurrent workers until no trial is left; returns their exit codes."""

    def run(trials: int, *, workers: int = WORKERS, **options: object) -> list[int]:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, url, str(trials), json.dumps(options)],
                cwd=repository,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(workers)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=300)[1] for process in processes]
        codes = [process.returncode for process in processes]
        assert set(codes) <= {0, 1, 9}, said
        assert "database is locked" not in "".join(said)
        return codes

    return run


def test_concurrent_workers_reach_the_total_exactly(
    study: optuna.Study, work: Callable[..., list[int]]
) -> None:
    assert work(25) == [0] * WORKERS

    assert count_outcomes(study)[Outcome.COMPLETE] == 25
    # A trial that came too late says so and has no value.
    others = [trial for trial in study.trials if outcome_of(trial) is not Outcome.COMPLETE]
    assert {trial.user_attrs[TrialAttribute.REASON] for trial in others} <= {
        "the total was reached"
    }
    assert all(trial.value is None for trial in others)


def test_each_enqueued_trial_runs_once(study: optuna.Study, work: Callable[..., list[int]]) -> None:
    for value in range(12):
        study.enqueue_trial({"x": value / 20})

    assert work(12) == [0] * WORKERS

    done = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    assert sorted(trial.params["x"] for trial in done) == [value / 20 for value in range(12)]


@pytest.mark.slow
def test_searches_that_die_and_restart_reach_the_total_exactly(
    study: optuna.Study, work: Callable[..., list[int]]
) -> None:
    starts = 0
    while starts < 30 and count_outcomes(study)[Outcome.COMPLETE] < 15:
        starts += 1
        work(15, workers=3, dies=0.2, search=True)
    work(15, workers=2, search=True)

    trials = study.trials
    outcomes = Counter(outcome_of(trial) for trial in trials if trial.state.is_finished())
    assert sum(counts(trial) for trial in trials if trial.state.is_finished()) == 15
    assert not [trial for trial in trials if trial.state is TrialState.RUNNING]
    assert outcomes[Outcome.CRASHED] > 0
    # No candidate counts twice.
    values = [trial.params["x"] for trial in trials if trial.state.is_finished() and counts(trial)]
    assert len(set(values)) == 15
