"""A hundred kills of workers, at any moment."""

import json
import random
import time
from collections.abc import Callable

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.outcomes import Outcome
from search.storage import TrialAttribute
from search.winner import best_configuration
from tests.faults.runs import PATIENCE, Place, Run, gave_way, is_worker, with_outcome

pytestmark = pytest.mark.faults

KILLS = 100
WORKERS = 4


def test_a_hundred_kills_change_no_result(make_place: Callable[..., Place]) -> None:
    place, chance = make_place(epochs=10), random.Random(0)
    total, kills, while_training = 6, 0, 0
    run = place.start(workers=WORKERS, trials=total, limits={"retries": 1000, "lease_seconds": 10})
    began = told = time.monotonic()
    while kills < KILLS:
        time.sleep(chance.uniform(0.0, 2.0))
        if run.process.poll() is not None:
            # The study outlived fewer kills than wanted: the same command wants more trials.
            run.succeeds()
            total += 6
            run = place.start(
                workers=WORKERS, trials=total, limits={"retries": 1000, "lease_seconds": 10}
            )
        # Two of three victims are at a trial, the others anywhere in their lives.
        training = chance.random() < 2 / 3
        victims = at_a_trial(place, run) if training else run.workers()
        while training and not victims and run.process.poll() is None:
            time.sleep(0.1)
            victims = at_a_trial(place, run)
        if training:
            time.sleep(chance.uniform(0.0, 3.0))
        if not victims or not kill(chance.choice(victims)):
            continue
        kills += 1
        while_training += training
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"{kills} kills after {told - began:.0f} s", flush=True)
    run.succeeds(patience=4 * PATIENCE)
    seconds = time.monotonic() - began

    trials = place.checked(total)
    crashed = with_outcome(trials, Outcome.CRASHED)
    print(f"{kills} kills in {seconds:.0f} s, {while_training} of workers at a trial: ", end="")
    print(f"{len(trials)} trials, {len(crashed)} crashed, {total} counted")
    # A worker that was killed between asking and its first beat left no name to ask it by.
    known = [trial for trial in crashed if TrialAttribute.LEASE in trial.user_attrs]
    assert len(known) >= KILLS // 4
    assert {trial.user_attrs[TrialAttribute.SIGNAL] for trial in known} == {"SIGKILL"}
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    best = max(trial.value for trial in complete if trial.value is not None)
    assert best_configuration(place.study()).value == best
    (metrics,) = [
        json.loads(path.read_text())
        for path in sorted((place.runs / place.name).glob("*/metrics.json"))[-1:]
    ]
    assert metrics["search"]["value"] == best
    # An epoch that was trained and saved is not trained again: its report stands in the trial that
    # goes on, and in the end each one has them all.
    assert all(len(trial.intermediate_values) == 10 for trial in complete if not repeats(trial))
    assert not [trial for trial in trials if gave_way(trial) and trial.value is not None]
    assert not (place.runs / place.name / "checkpoints").exists()


def at_a_trial(place: Place, run: Run) -> list[psutil.Process]:
    """Returns the workers that hold a trial now."""
    holders = {trial.user_attrs[TrialAttribute.LEASE]["process"] for trial in place.running()}
    return [worker for worker in run.workers() if worker.pid in holders]


def repeats(trial: FrozenTrial) -> bool:
    reason: str = trial.user_attrs.get(TrialAttribute.REASON, "")
    return reason.startswith("same candidate")


def kill(process: psutil.Process) -> bool:
    try:
        alive = is_worker(process)
        process.kill()
        return alive
    except psutil.NoSuchProcess:
        return False
