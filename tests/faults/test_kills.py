"""A hundred kills of workers at random moments."""

import random
import time
from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from search.storage import TrialAttribute
from search.trials.lease import lease_of
from search.trials.outcomes import Outcome
from tests.support.fault_runs import (
    PATIENCE,
    Place,
    at_a_trial,
    gave_way,
    kill,
    repeats,
    with_outcome,
)

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
            # The study ended before enough kills: run the same command with more trials.
            run.succeeds()
            total += 6
            run = place.start(
                workers=WORKERS, trials=total, limits={"retries": 1000, "lease_seconds": 10}
            )
        # Two of three victims are running a trial, the others are anywhere.
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
    # A worker killed between asking for a trial and its first heartbeat leaves no lease.
    known = [trial for trial in crashed if lease_of(trial)]
    assert len(known) >= KILLS // 4
    assert {trial.user_attrs[TrialAttribute.SIGNAL] for trial in known} == {"SIGKILL"}
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    place.best()
    # A saved epoch is not trained again: the continuation keeps its report, so in the end every
    # complete trial has all reports.
    assert all(len(trial.intermediate_values) == 10 for trial in complete if not repeats(trial))
    assert not [trial for trial in trials if gave_way(trial) and trial.value is not None]
    assert not (place.runs / place.name / "checkpoints").exists()
