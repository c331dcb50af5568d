"""Worker processes with tiny real trainings: supervised, replaced and stopped cleanly."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.storage import TrialAttribute
from search.trials.attempts import recover_abandoned
from search.trials.lease import LeaseWatch, lease_of
from search.trials.outcomes import Outcome, count_outcomes
from tests.support.fault_runs import PATIENCE, STUDY, Place, Run, held_by, with_outcome
from tests.support.jobs import with_mishap

pytestmark = pytest.mark.slow

MakePlace = Callable[..., Place]


def worker_of(run: Run, trial: FrozenTrial) -> psutil.Process:
    process = lease_of(trial)["process"]
    (worker,) = [worker for worker in run.workers() if worker.pid == process]
    return worker


def attempts_after(trials: list[FrozenTrial], number: int) -> list[FrozenTrial]:
    return [t for t in trials if t.user_attrs.get(TrialAttribute.CONTINUES) == number]


def logs(place: Place) -> dict[str, str]:
    folder = place.runs / place.name / "workers"
    return {path.name: path.read_text() for path in folder.glob("*.log")}


def test_two_workers_complete_a_study_together(make_place: MakePlace) -> None:
    place = make_place(epochs=20)
    run = place.start(workers=2, trials=6)
    run.wait_until(lambda: len(place.running(trained=1)) == 2)
    run.succeeds()

    trials = place.checked(6)
    assert len(held_by(trials)) == 2
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert logs(place) == {}
    assert not (place.runs / place.name / "checkpoints").exists()
    assert len(list((place.runs / place.name).glob("*/model.keras"))) == 1
    for number in range(6):
        assert f"trial {number} started" in run.said()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_killed_by_a_signal_is_replaced_and_its_trial_continued(
    make_place: MakePlace, number: signal.Signals
) -> None:
    epochs = 60
    place = make_place(epochs=epochs)
    run = place.start(workers=1, trials=2)
    run.wait_until(lambda: place.running(trained=3))
    (victim,) = place.running()
    worker_of(run, victim).send_signal(number)
    run.succeeds()

    trials = place.checked(2)
    dead = trials[victim.number]
    assert with_outcome(trials, Outcome.CRASHED) == [dead]
    stored = dead.user_attrs
    assert stored[TrialAttribute.SIGNAL] == number.name
    assert stored[TrialAttribute.CRASHES] == 1
    assert stored[TrialAttribute.EPOCHS_TRAINED] >= 3
    assert stored[TrialAttribute.PEAK_MEMORY_MIB] > 100
    assert stored[TrialAttribute.REASON].startswith(f"killed by {number.name}")
    (later,) = attempts_after(trials, dead.number)
    assert later.state is TrialState.COMPLETE
    assert later.params == dead.params
    assert later.user_attrs[TrialAttribute.CRASHES] == 1
    # Epochs before the death are not trained again: the continuation has the same reports.
    assert sorted(later.intermediate_values) == list(range(1, epochs + 1))
    for step, value in dead.intermediate_values.items():
        assert later.intermediate_values[step] == value
    assert len(held_by(trials)) == 2
    said = "Segmentation fault" if number == signal.SIGSEGV else ""
    assert said in "".join(logs(place).values())


def test_a_joining_search_leaves_a_dead_worker_to_its_own_supervisor(
    make_place: MakePlace,
) -> None:
    place = make_place(epochs=60)
    run = place.start(workers=1, trials=1, retrain=False)
    run.wait_until(lambda: place.running(trained=1))
    (victim,) = place.running()
    worker = worker_of(run, victim)
    # The suspended supervisor notices the death later than the joining search.
    run.process.send_signal(signal.SIGSTOP)
    worker.kill()
    run.wait_until(lambda: worker.status() == psutil.STATUS_ZOMBIE)
    assert recover_abandoned(place.study(), LeaseWatch()) == []
    run.process.send_signal(signal.SIGCONT)
    run.succeeds()

    (dead,) = with_outcome(place.checked(1), Outcome.CRASHED)
    assert dead.number == victim.number
    assert dead.user_attrs[TrialAttribute.SIGNAL] == "SIGKILL"


def test_a_hanging_worker_is_killed_and_its_trial_retried(make_place: MakePlace) -> None:
    place = make_place(epochs=3, study=with_mishap(STUDY, "time.sleep(3600)"))
    run = place.start(workers=1, trials=2, retrain=False, limits={"stall_seconds": 45})
    run.succeeds()

    trials = place.checked(2)
    assert (place.folder / "happened").exists()
    (hung,) = with_outcome(trials, Outcome.CRASHED)
    assert hung.number == 1
    reason = hung.user_attrs[TrialAttribute.REASON]
    assert reason == "no sign of life for 45 s, so it was killed, after 0 epochs"


def test_a_spent_worker_works_until_its_successor_is_ready(make_place: MakePlace) -> None:
    place = make_place(epochs=60)
    run = place.start(workers=1, trials=4, retrain=False, limits={"trials_each": 1})
    at_work_while_the_next_starts: set[int] = set()

    def last_begun() -> bool:
        if len(run.workers()) == 2:
            at_work_while_the_next_starts.update(trial.number for trial in place.running())
        return bool(with_lease(place, 3))

    run.wait_until(last_begun)
    run.succeeds()

    trials = place.checked(4)
    # A spent worker continues until its successor has imported everything.
    assert at_work_while_the_next_starts
    assert len(held_by(trials)) >= 2
    assert with_outcome(trials, Outcome.COMPLETE) == trials


def with_lease(place: Place, number: int) -> list[FrozenTrial]:
    trials = [trial for trial in place.trials() if trial.number == number]
    return [trial for trial in trials if lease_of(trial)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_stops_cleanly_and_the_same_command_resumes(
    make_place: MakePlace, number: signal.Signals
) -> None:
    place = make_place(epochs=60)
    run = place.start(workers=2, trials=3)
    run.wait_until(lambda: len(place.running(trained=1)) == 2)
    workers = run.workers()
    os.killpg(run.process.pid, number)

    assert run.ends() == 130
    assert "Traceback" not in run.said()
    assert not any(worker.is_running() for worker in workers)
    interrupted = place.trials()
    assert count_outcomes(place.study())[Outcome.INTERRUPTED] == 2
    assert not [trial for trial in interrupted if trial.state is TrialState.RUNNING]

    place.start(workers=2, trials=3).succeeds()
    trials = place.checked(3)
    assert with_outcome(trials, Outcome.CRASHED) == []
    for trial in with_outcome(trials, Outcome.INTERRUPTED):
        if trial.intermediate_values:
            (later,) = attempts_after(trials, trial.number)
            assert sorted(later.intermediate_values) == list(range(1, 61))


def test_ctrl_c_while_workers_start_is_not_a_worker_failure(make_place: MakePlace) -> None:
    place = make_place()
    run = place.start(workers=4, trials=3)
    run.wait_until(lambda: len(run.workers()) == 4)
    os.killpg(run.process.pid, signal.SIGINT)

    assert run.ends() == 130
    assert "Traceback" not in run.said()
    assert logs(place) == {}
    assert not [trial for trial in place.trials() if trial.state is TrialState.RUNNING]


def test_ctrl_c_twice_stops_at_once_and_the_same_command_resumes(make_place: MakePlace) -> None:
    place = make_place(epochs=60)
    run = place.start(workers=2, trials=2)
    run.wait_until(lambda: len(place.running(trained=1)) == 2)
    workers = run.workers()
    os.killpg(run.process.pid, signal.SIGINT)
    os.killpg(run.process.pid, signal.SIGINT)

    assert run.ends() == 130
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert alive == []

    place.start(workers=2, trials=2, retrain=False).succeeds()
    place.checked(2)


@pytest.mark.parametrize(
    ("at_import", "words"),
    [
        ("print('no luck here', file=sys.stderr); os._exit(7)", "exited with code 7"),
        ("os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("raise RuntimeError('no luck here')", "no luck here"),
    ],
)
def test_workers_that_cannot_start_report_the_reason(
    make_place: MakePlace, at_import: str, words: str
) -> None:
    broken = f"import os, sys\nif 'worker' in sys.argv[0]:\n    {at_import}\n" + STUDY
    place = make_place(study=broken)
    run = place.start(workers=1, trials=2)

    assert run.ends() == 1
    said = run.said()
    assert words in said
    if "no luck" in at_import:
        assert "no luck here" in said
    assert place.trials() == []


def test_the_command_exits_with_code_1_if_workers_cannot_start(make_place: MakePlace) -> None:
    at_import = "print('no luck here', file=sys.stderr); os._exit(7)"
    broken = f"import os, sys\nif 'worker' in sys.argv[0]:\n    {at_import}\n" + STUDY
    place = make_place(study=broken)
    command = [sys.executable, "-m", "search.run", "--study", str(place.file), "--workers", "1"]
    command += ["--storage", place.options["storage"], "--trials", "2"]
    ended = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=600)

    assert ended.returncode == 1
    assert "no luck here" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
