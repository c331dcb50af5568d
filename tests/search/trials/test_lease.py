"""Leases: which processes count as gone, and which never do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from search.storage import open_storage, quiet_optuna
from search.system.processes import host_identity, process_identity
from search.trials.lease import Lease, LeaseWatch, is_here, lease_of
from tests.support.attributes import give_lease

HOLDER = """
import sys, time
import optuna
from search.trials.lease import Lease
from search.storage import open_storage, quiet_optuna
with quiet_optuna():
    study = optuna.load_study(study_name="tiny", storage=open_storage(sys.argv[1]))
with Lease(study.ask(), seconds=float(sys.argv[2])):
    print("holds", flush=True)
    time.sleep(300)
"""


class ByHand:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def holder(study: optuna.Study, url: str, repository: Path) -> Iterator[Callable[..., Any]]:
    """Starts processes that hold a trial each."""
    started = []

    def start(*, seconds: float = 120.0) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, url, str(seconds)],
            cwd=repository,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def running(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


@pytest.fixture(autouse=True)
def _holders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers this process as the holder of the leases that `hold` writes."""
    monkeypatch.setattr("search.trials.lease._holders", {"w"})


def hold(study: optuna.Study, **lease: Any) -> optuna.Trial:
    """Asks for a trial and writes a lease of this process, changed by `lease`."""
    trial = study.ask()
    mine = {
        "worker": "w",
        "host": host_identity(),
        "process": os.getpid(),
        "started": process_identity(os.getpid()),
        "beat": 0,
    }
    give_lease(trial, {**mine, **lease})
    return trial


def numbers(trials: list[optuna.trial.FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_a_lease_names_its_holder_and_has_a_heartbeat(study: optuna.Study) -> None:
    trial = study.ask()
    with Lease(trial, worker="me", seconds=0.4) as lease:
        first = lease_of(running(study)[0])
        deadline = time.monotonic() + 60
        while (second := lease_of(running(study)[0]))["beat"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert first["beat"] == 0
    assert is_here(first)
    assert (first["worker"], first["process"]) == ("me", os.getpid())
    assert {**first, "beat": None} == {**second, "beat": None}
    assert not lease.lost
    last = lease_of(running(study)[0])
    time.sleep(0.15)
    assert lease_of(running(study)[0]) == last  # the heartbeat has stopped


def look_for(
    seconds: float, watch: LeaseWatch, clock: ByHand, study: optuna.Study
) -> list[optuna.trial.FrozenTrial]:
    """Checks four times while `seconds` pass; returns what the last check finds."""
    for _ in range(4):
        clock.now += seconds / 4
        found = watch.lapsed(running(study))
    return found


def test_a_long_gap_between_two_checks_expires_no_lease(study: optuna.Study) -> None:
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)
    trial = hold(study, host="elsewhere")
    watch.lapsed(running(study))

    # The storage was unavailable: the holder could not write a heartbeat either.
    clock.now += 1e6

    assert watch.lapsed(running(study)) == []
    assert numbers(look_for(30, watch, clock, study)) == [trial.number]


def test_another_machines_lease_expires_by_this_processs_clock(study: optuna.Study) -> None:
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)
    trial = hold(study, host="elsewhere", process=1, started="whenever")

    assert watch.lapsed(running(study)) == []
    assert look_for(59.9, watch, clock, study) == []
    give_lease(trial, {**lease_of(running(study)[0]), "beat": 1})
    assert look_for(0.0, watch, clock, study) == []
    assert look_for(59.9, watch, clock, study) == []
    assert numbers(look_for(0.2, watch, clock, study)) == [trial.number]


def test_a_watch_that_starts_late_allows_the_full_time(study: optuna.Study) -> None:
    hold(study, host="elsewhere")
    clock = ByHand()
    clock.now += 1e6

    assert LeaseWatch(seconds=60, clock=clock).lapsed(running(study)) == []


def test_a_trial_taken_over_by_another_worker_gets_the_full_time(study: optuna.Study) -> None:
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)
    trial = hold(study, host="elsewhere", worker="first")
    watch.lapsed(running(study))
    clock.now += 50
    lease = lease_of(running(study)[0])
    give_lease(trial, {**lease, "worker": "second"})
    watch.lapsed(running(study))
    clock.now += 50

    assert watch.lapsed(running(study)) == []


def test_a_trial_without_a_lease_gets_time_to_write_one(study: optuna.Study) -> None:
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)
    trial = study.ask()

    assert watch.lapsed(running(study)) == []
    assert numbers(look_for(60, watch, clock, study)) == [trial.number]


def test_a_live_process_keeps_its_trial_without_heartbeats(study: optuna.Study) -> None:
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)
    hold(study)

    watch.lapsed(running(study))
    clock.now += 1e9
    assert watch.lapsed(running(study)) == []


def test_a_killed_process_is_gone_at_once(study: optuna.Study, holder: Callable[..., Any]) -> None:
    process = holder()
    watch = LeaseWatch(seconds=1e9)
    assert watch.lapsed(running(study)) == []

    process.kill()
    process.wait()
    assert numbers(watch.lapsed(running(study))) == [0]


def test_a_zombie_process_is_gone_too(study: optuna.Study, holder: Callable[..., Any]) -> None:
    process = holder()
    process.kill()
    deadline = time.monotonic() + 60
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert numbers(LeaseWatch().lapsed(running(study))) == [0]


def test_a_later_process_with_the_same_id_does_not_hold_the_trial(study: optuna.Study) -> None:
    hold(study, started="another start")

    assert numbers(LeaseWatch().lapsed(running(study))) == [0]


def test_a_trial_released_by_this_process_is_abandoned_at_once(study: optuna.Study) -> None:
    watch = LeaseWatch(seconds=1e9)
    with pytest.raises(StorageInternalError), Lease(study.ask()):
        assert watch.lapsed(running(study)) == []
        raise StorageInternalError("the server stopped in mid-trial")

    assert numbers(watch.lapsed(running(study))) == [0]


def test_a_lease_that_cannot_be_written_is_not_held(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Lease._write

    def write_without_reply(self: Lease) -> None:
        write(self)
        raise StorageInternalError("no reply")

    monkeypatch.setattr(Lease, "_write", write_without_reply)
    with pytest.raises(StorageInternalError), Lease(study.ask()):
        pass

    assert numbers(LeaseWatch().lapsed(running(study))) == [0]


def test_a_dead_worker_is_left_to_its_supervisor_while_it_runs(study: optuna.Study) -> None:
    supervisor = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    alive = {"process": supervisor.pid, "started": process_identity(supervisor.pid)}
    held = hold(study, started="dead", supervisor=alive)
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)

    assert watch.lapsed(running(study)) == []
    # The supervisor may be suspended or busy, so the lease also expires.
    assert numbers(look_for(60, watch, clock, study)) == [held.number]
    watch = LeaseWatch(seconds=60, clock=clock)
    assert watch.lapsed(running(study)) == []
    supervisor.communicate()
    assert numbers(watch.lapsed(running(study))) == [held.number]


def test_a_worker_names_its_parent_as_its_supervisor(study: optuna.Study) -> None:
    with Lease(study.ask(), worker="supervised"), Lease(study.ask()):
        supervised, alone = (lease_of(trial) for trial in running(study))

    parent = os.getppid()
    assert supervised["supervisor"] == {"process": parent, "started": process_identity(parent)}
    assert alone["supervisor"] is None


def test_a_supervisors_own_dead_worker_is_gone_at_once(study: optuna.Study) -> None:
    me = {"process": os.getpid(), "started": process_identity(os.getpid())}
    hold(study, started="dead", supervisor=me)

    assert numbers(LeaseWatch().lapsed(running(study))) == [0]


def test_a_suspended_process_loses_its_trial_when_its_lease_expires(
    study: optuna.Study, holder: Callable[..., Any]
) -> None:
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)
    process = holder(seconds=1e6)
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert watch.lapsed(running(study)) == []
    assert look_for(59, watch, clock, study) == []
    assert numbers(look_for(1, watch, clock, study)) == [0]
    process.send_signal(signal.SIGCONT)
    while psutil.Process(process.pid).status() == psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert watch.lapsed(running(study)) == []


@pytest.mark.parametrize("jump", [-1e8, 1e8])
def test_a_clock_change_takes_no_trial_from_a_live_process(
    study: optuna.Study,
    holder: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    jump: float,
) -> None:
    holder()
    hold(study)
    clock = ByHand()
    watch = LeaseWatch(seconds=60, clock=clock)
    assert watch.lapsed(running(study)) == []

    # These read the wall clock: time.time, and psutil, which adds the start time since boot to it.
    now, created = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) + jump)
    clock.now += 1e9

    assert watch.lapsed(running(study)) == []


def test_a_holder_learns_that_another_process_ended_its_trial(
    study: optuna.Study, url: str
) -> None:
    trial = study.ask()
    with quiet_optuna():
        other = optuna.load_study(study_name="tiny", storage=open_storage(url))
    with Lease(trial, seconds=0.4) as lease:
        other.tell(trial.number, state=TrialState.FAIL)
        deadline = time.monotonic() + 60
        while not lease.lost:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with pytest.raises(UpdateFinishedTrialError):
        trial.report(0.5, 1)
    with pytest.raises(UpdateFinishedTrialError):
        trial.set_user_attr("late", 1)
    with pytest.raises((UpdateFinishedTrialError, ValueError)):
        study.tell(trial, 0.5)
    assert [t.state for t in other.get_trials(deepcopy=False)] == [TrialState.FAIL]


def test_a_temporary_storage_outage_loses_no_lease(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = study.ask()
    write, failures = Lease._write, iter([OSError("away")] * 3)

    def sometimes(self: Lease) -> None:
        if self._beat and (failure := next(failures, None)) is not None:
            raise failure
        write(self)

    monkeypatch.setattr(Lease, "_write", sometimes)
    with Lease(trial, seconds=0.2) as lease:
        deadline = time.monotonic() + 60
        while lease_of(running(study)[0])["beat"] < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert not lease.lost
