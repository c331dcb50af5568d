"""A worker that is suspended for longer than its lease, and then resumes."""

from collections.abc import Callable

import pytest
from optuna.trial import FrozenTrial, TrialState

from search.storage import TrialAttribute
from search.trials.lease import lease_of
from search.trials.outcomes import Outcome, outcome_of
from tests.support.fault_runs import Place

pytestmark = pytest.mark.faults

TRIALS, EPOCHS = 4, 80


def test_a_suspended_workers_trial_goes_on_elsewhere_and_it_gives_up(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(epochs=EPOCHS)
    run = place.start(workers=2, trials=TRIALS, limits={"lease_seconds": 6})
    run.wait_until(lambda: len(place.running(trained=2)) == 2)
    lost = place.running()[0]
    process = lease_of(lost)["process"]
    (worker,) = [worker for worker in run.workers() if worker.pid == process]
    worker.suspend()
    try:
        run.wait_until(lambda: trial(place, lost.number).state is TrialState.FAIL)
        ended = trial(place, lost.number)
        run.wait_until(lambda: [t for t in later(place, lost.number) if trained_beyond(t, ended)])
    finally:
        worker.resume()
    # The worker notices that it lost the trial, and asks for another one.
    run.wait_until(
        lambda: [
            other
            for other in place.trials()
            if lease_of(other).get("process") == process and other.number != lost.number
        ]
    )
    run.succeeds()

    place.checked(TRIALS)
    again = trial(place, lost.number)
    assert outcome_of(again) is Outcome.CRASHED
    assert again.user_attrs == ended.user_attrs
    assert again.intermediate_values == ended.intermediate_values
    (continued,) = later(place, lost.number)
    assert continued.state is TrialState.COMPLETE
    assert sorted(continued.intermediate_values) == list(range(1, EPOCHS + 1))
    assert lease_of(continued)["process"] != process


def trial(place: Place, number: int) -> FrozenTrial:
    return place.trials()[number]


def later(place: Place, number: int) -> list[FrozenTrial]:
    return [t for t in place.trials() if t.user_attrs.get(TrialAttribute.CONTINUES) == number]


def trained_beyond(trial: FrozenTrial, earlier: FrozenTrial) -> bool:
    return max(trial.intermediate_values, default=0) > max(earlier.intermediate_values, default=0)
