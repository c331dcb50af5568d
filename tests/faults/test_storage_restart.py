"""A storage server that dies while workers train, and restarts."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from search.trials.outcomes import Outcome
from tests.support.fault_runs import Place, Run, gave_way, held_by, with_outcome
from tests.support.postgresql import Cluster
from tests.support.storage_servers import storage_server

pytestmark = pytest.mark.faults

EPOCHS, TRIALS, WORKERS = 30, 6, 2
SECONDS_AWAY = 5.0


def test_a_database_server_that_crashes_twice_costs_no_trial(
    make_place: Callable[..., Place], postgresql_cluster: Cluster
) -> None:
    place = make_place(epochs=EPOCHS, storage=postgresql_cluster.new_database())
    run = place.start(workers=WORKERS, trials=TRIALS)
    for complete in (1, 3):
        wait_for(run, place, complete=complete)
        postgresql_cluster.stop("immediate")
        time.sleep(SECONDS_AWAY)
        postgresql_cluster.start()
    check(run, place)


def test_a_storage_proxy_that_is_killed_costs_no_trial(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    with storage_server(f"sqlite:///{tmp_path / 'studies.db'}") as server:
        place = make_place(epochs=EPOCHS, storage=server.url)
        assert tmp_path / "studies.db" == place.database
        run = place.start(workers=WORKERS, trials=TRIALS)
        wait_for(run, place, complete=2)
        server.kill()
        time.sleep(SECONDS_AWAY)
        server.start()
        check(run, place)


def wait_for(run: Run, place: Place, *, complete: int) -> None:
    """Waits until `complete` trials are complete and every worker is in the middle of another."""

    def in_the_middle() -> bool:
        ended = with_outcome([t for t in place.trials() if t.state.is_finished()], Outcome.COMPLETE)
        return len(ended) >= complete and len(place.running(trained=1)) == WORKERS

    run.wait_until(in_the_middle)


def check(run: Run, place: Place) -> None:
    """Waits for the end of the run, and checks that the outage left no trace."""
    began = time.monotonic()
    run.succeeds()
    trials = place.checked(TRIALS)
    complete = with_outcome(trials, Outcome.COMPLETE)
    print(
        f"{len(trials)} trials, {len(complete)} complete, by {len(held_by(trials))} workers; ",
        end="",
    )
    print(f"{time.monotonic() - began:.0f} s after the last restart the run was over")
    assert complete == [trial for trial in trials if not gave_way(trial)]
    for trial in complete:
        assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))
        assert trial.value == trial.intermediate_values[EPOCHS]
    # No worker was lost.
    assert len(held_by(complete)) == WORKERS
    assert "Traceback" not in run.said()
    place.best()
    assert len(place.finished()) == 1
