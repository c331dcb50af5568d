"""Workers that hold too much memory after every trial."""

import time
from collections.abc import Callable

import pytest

from search.storage import TrialAttribute
from search.trials.outcomes import Outcome
from tests.support.fault_runs import Place, gave_way, held_by, with_outcome

pytestmark = pytest.mark.faults

# A trial takes about as long as a worker's start, so that successors get trials too.
EPOCHS, TRIALS, WORKERS = 60, 8, 2


def test_a_worker_for_hardly_more_than_a_trial_costs_no_trial(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(epochs=EPOCHS)
    # Less than any worker holds.
    limits = {"memory_mib": 1}
    run = place.start(workers=WORKERS, trials=TRIALS, retrain=False, limits=limits)
    most = 0
    while run.process.poll() is None:
        most = max(most, len(place.running()))
        time.sleep(0.1)
    run.succeeds()

    trials = place.checked(TRIALS)
    print(f"{len(trials)} trials by {len(held_by(trials))} workers, at most {most} at a time")
    assert with_outcome(trials, Outcome.COMPLETE) == [t for t in trials if not gave_way(t)]
    assert not [trial for trial in trials if trial.user_attrs.get(TrialAttribute.CRASHES)]
    assert len(held_by(trials)) > WORKERS
    # A successor waits until the spent worker has left.
    assert most <= WORKERS
    # No worker wrote anything to its log.
    assert list((place.runs / place.name / "workers").iterdir()) == []
