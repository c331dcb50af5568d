"""Two commands on one study: their workers die, then one whole command does."""

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from search.storage import TrialAttribute
from search.trials.lease import lease_of
from search.trials.outcomes import Outcome
from tests.support.fault_runs import (
    PATIENCE,
    Place,
    at_a_trial,
    held_by,
    kill,
    repeats,
    with_outcome,
)

pytestmark = pytest.mark.faults

EPOCHS, TRIALS, WORKERS, KILLS = 60, 8, 2, 15
LIMITS = {"retries": 1000, "lease_seconds": 10}


def test_one_of_two_searches_finishes_what_both_began(make_place: Callable[..., Place]) -> None:
    place, chance = make_place(epochs=EPOCHS), random.Random(0)
    runs = [place.start(workers=WORKERS, trials=TRIALS, limits=LIMITS) for _ in range(2)]
    kills: Counter[int] = Counter()
    while kills.total() < KILLS:
        # Both lose equally many. Two of three victims are running a trial, the others are anywhere.
        number = kills.total() % 2
        run = runs[number]
        find = partial(at_a_trial, place, run) if chance.random() < 2 / 3 else run.workers
        run.wait_until(find)
        time.sleep(chance.uniform(0.0, 1.0))
        victims = find()
        if victims and kill(chance.choice(victims)):
            kills[number] += 1
    first, second = runs
    first.wait_until(lambda: at_a_trial(place, first))
    last = {worker.pid for worker in first.workers()}
    first.kill_group()
    assert second.process.poll() is None
    second.succeeds(patience=2 * PATIENCE)

    trials = place.checked(TRIALS)
    crashed = with_outcome(trials, Outcome.CRASHED)
    print(f"{kills.total()} kills and a group of {WORKERS} workers: {len(trials)} trials, ", end="")
    print(f"{len(crashed)} crashed, {TRIALS} counted, by {len(held_by(trials))} workers")
    assert len(crashed) > KILLS // 3
    assert set(kills.values()) == {KILLS // 2, KILLS - KILLS // 2}
    holders = [lease_of(trial) for trial in crashed]
    left = [t for t, lease in zip(crashed, holders, strict=True) if lease.get("process") in last]
    # The other command finds their trials abandoned: how the workers died is unknown.
    assert left
    for trial in left:
        assert trial.user_attrs[TrialAttribute.REASON].startswith("its process died")
        assert TrialAttribute.SIGNAL not in trial.user_attrs
    complete = with_outcome(trials, Outcome.COMPLETE)
    assert all(len(trial.intermediate_values) == EPOCHS for trial in complete if not repeats(trial))
    place.best()
    assert len(place.finished()) == 1
    assert not (place.runs / place.name / "checkpoints").exists()
