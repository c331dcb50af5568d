"""The death of the supervisor, and of all processes at once."""

from collections.abc import Callable

import psutil
import pytest
from optuna.trial import TrialState

from search.storage import TrialAttribute
from search.trials.outcomes import Outcome
from tests.support.fault_runs import Place, with_outcome

pytestmark = pytest.mark.faults

TRIALS = 4
# A worker without a supervisor exits this many seconds after it notices.
ORPHAN_SECONDS = 60.0


def test_workers_leave_in_order_when_their_supervisor_is_killed(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(epochs=60)
    run = place.start(workers=2, trials=TRIALS)
    run.wait_until(lambda: len(place.running(trained=2)) == 2)
    held = {trial.number for trial in place.running()}
    workers = run.workers()
    run.kill()

    _, alive = psutil.wait_procs(workers, timeout=ORPHAN_SECONDS + 30)
    assert alive == []
    left = place.trials()
    assert not [trial for trial in left if trial.state is TrialState.RUNNING]
    ended = [trial for trial in left if trial.state.is_finished()]
    assert held <= {trial.number for trial in with_outcome(ended, Outcome.INTERRUPTED)}

    again = place.start(workers=2, trials=TRIALS)
    again.succeeds()
    trials = place.checked(TRIALS)
    assert not with_outcome(trials, Outcome.CRASHED)
    for number in held:
        (later,) = [t for t in trials if t.user_attrs.get(TrialAttribute.CONTINUES) == number]
        # It has all reports: the earlier ones unchanged, then the rest.
        assert sorted(later.intermediate_values) == list(range(1, 61))
        before = trials[number].intermediate_values
        assert before == {step: later.intermediate_values[step] for step in before}


def test_everything_is_killed_at_once(make_place: Callable[..., Place]) -> None:
    place = make_place(epochs=60)
    run = place.start(workers=2, trials=TRIALS)
    run.wait_until(lambda: len(place.running(trained=2)) == 2)
    run.kill_group()
    held = {trial.number for trial in place.trials() if trial.state is TrialState.RUNNING}
    assert len(held) == 2

    place.start(workers=2, trials=TRIALS).succeeds()

    trials = place.checked(TRIALS)
    crashed = {trial.number for trial in with_outcome(trials, Outcome.CRASHED)}
    assert crashed == held
    # Its supervisor is gone as well, so how it died is unknown.
    assert "its process died" in trials[min(held)].user_attrs[TrialAttribute.REASON]
