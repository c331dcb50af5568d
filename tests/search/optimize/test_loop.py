"""The search loop: totals, budgets, interruptions, and trials whose process is gone.

Short functions replace trials, except where a test says otherwise.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note  # type: ignore[import-untyped]

from search.data import Split
from search.errors import SearchFailure, SearchInterrupted
from search.optimize import loop
from search.progress.events import Event, Note, Progress, SearchFinished, TrialFinished
from search.storage import StudyAttribute, TrialAttribute, open_storage, quiet_optuna
from search.storage.artifacts import open_artifacts
from search.system.interruption import Interruption
from search.trials.attempts import continue_later, end_crashed
from search.trials.lease import Lease, LeaseWatch
from search.trials.objective import TrialResult
from search.trials.outcomes import Outcome, count_outcomes
from search.trials.reporter import share_checkpoint
from search.trials.search_time import SearchTime
from search.trials.session import Session
from search.trials.shared_checkpoints import SharedCheckpoints
from studies.study import StudySpec
from tests.support.sessions import changed, make_session

Body = Callable[[optuna.Trial, Session], TrialResult]


@pytest.fixture
def session(study: optuna.Study, tiny_study: StudySpec, digits: Split, tmp_path: Path) -> Session:
    return make_session(study, spec=tiny_study, split=digits, checkpoints=tmp_path / "c")


def search(session: Session, *, trials: int, seconds: float | None = None) -> None:
    """Searches until `trials` trials have finished or time is up."""
    loop.search(changed(session, trials=trials, time=SearchTime(seconds)))


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    with quiet_optuna():
        yield optuna.create_study(
            storage=open_storage(f"sqlite:///{tmp_path / 'studies.db'}"),
            study_name="tiny",
            direction="maximize",
        )


@pytest.fixture
def trials_are(monkeypatch: pytest.MonkeyPatch) -> Callable[[Body], None]:
    """Replaces the body of a trial."""

    def install(body: Body) -> None:
        monkeypatch.setattr(loop, "run_trial", lambda trial, session, lease: body(trial, session))

    return install


def complete(trial: optuna.Trial, session: Session) -> TrialResult:
    value = trial.suggest_float("x", 0, 1)
    trial.set_user_attr(TrialAttribute.OUTCOME, Outcome.COMPLETE)
    trial.study.tell(trial, value)
    return TrialResult(Outcome.COMPLETE, value)


def test_trials_of_earlier_starts_count_towards_the_total(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    trials_are(complete)

    search(session, trials=3)
    search(session, trials=3)
    assert len(study.trials) == 3

    search(session, trials=5)
    assert len(study.trials) == 5


def test_the_best_value_comes_with_its_trial_even_from_another_process(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    heard: list[Event] = []

    class Listening(Progress):
        def handle(self, event: Event) -> None:
            heard.append(event)

    def behind_another_process(trial: optuna.Trial, session: Session) -> TrialResult:
        complete(study.ask(), session)
        better = study.ask()
        better.set_user_attr(TrialAttribute.OUTCOME, Outcome.COMPLETE)
        study.tell(better, 2.0)
        return complete(trial, session)

    trials_are(behind_another_process)
    search(replace(session, progress=Listening()), trials=1)

    bests = [
        (event.best_value, event.best_trial)
        for event in heard
        if isinstance(event, TrialFinished | SearchFinished)
    ]
    assert bests == [(2.0, 2)] * 2


def test_an_interrupted_trial_is_continued_and_counts_once(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    def interrupt(trial: optuna.Trial, session: Session) -> TrialResult:
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr(TrialAttribute.CANDIDATE, "the candidate")
        if 2 not in trial.storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(0.4, 2)
        raise KeyboardInterrupt

    trials_are(interrupt)
    for _ in range(3):
        with pytest.raises(SearchInterrupted):
            search(session, trials=2)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * 3 + [TrialState.WAITING]

    trials_are(complete)
    search(session, trials=2)

    counts = count_outcomes(study)
    assert counts == {Outcome.INTERRUPTED: 3, Outcome.COMPLETE: 2}
    first, last = study.trials[0], study.trials[3]
    assert first.user_attrs["reason"] == "interrupted"
    assert last.params == first.params
    assert last.intermediate_values == {2: 0.4}
    assert last.user_attrs["continues_trial"] == 2


def test_a_signal_between_two_trials_prevents_the_next(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    def finish_and_signal(trial: optuna.Trial, session: Session) -> TrialResult:
        os.kill(os.getpid(), signal.SIGINT)
        return complete(trial, session)

    trials_are(finish_and_signal)
    with Interruption() as interruption, pytest.raises(SearchInterrupted):
        interruptible = replace(session, interruption=interruption)
        search(interruptible, trials=5)

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_no_trial_starts_after_the_budget_is_spent_even_after_a_restart(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    def slowly(trial: optuna.Trial, session: Session) -> TrialResult:
        time.sleep(0.2)
        return complete(trial, session)

    trials_are(slowly)
    search(session, trials=100, seconds=0.5)
    done = len(study.trials)
    search(session, trials=100, seconds=0.5)

    assert 1 <= done <= 4
    assert len(study.trials) == done
    assert study.user_attrs["search_seconds"] >= 0.5


def test_no_trial_starts_that_could_not_complete_in_time(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    def claim_an_hour(trial: optuna.Trial, session: Session) -> TrialResult:
        trial.set_user_attr(TrialAttribute.SECONDS, 3600.0)
        trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, 2)
        return complete(trial, session)

    trials_are(claim_an_hour)
    search(session, trials=100, seconds=600)

    assert len(study.trials) == 1


def test_the_running_trial_learns_that_the_budget_is_spent(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    reasons = []

    def ask(trial: optuna.Trial, session: Session) -> TrialResult:
        reasons.append(session.time.reason_to_stop(session.study))
        time.sleep(1.2)
        reasons.append(session.time.reason_to_stop(session.study))
        return complete(trial, session)

    trials_are(ask)
    search(session, trials=2, seconds=2.0)

    # The first trial may continue as long as none is complete.
    assert reasons == [None, None, None, "the search's budget of 2 s is over"]


def test_a_search_in_which_every_trial_fails_raises_the_reasons(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    def fail(trial: optuna.Trial, session: Session) -> TrialResult:
        trial.set_user_attr(TrialAttribute.OUTCOME, Outcome.FAILED)
        trial.set_user_attr(TrialAttribute.REASON, "RuntimeError: no luck")
        trial.study.tell(trial, state=TrialState.FAIL)
        return TrialResult(Outcome.FAILED, None, "RuntimeError: no luck")

    trials_are(fail)

    with pytest.raises(SearchFailure, match="3 x failed: RuntimeError: no luck"):
        search(session, trials=3)


def test_the_dashboards_notes_are_written_however_a_search_ends(
    study: optuna.Study,
    session: Session,
    trials_are: Callable[[Body], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(trial: optuna.Trial, session: Session) -> TrialResult:
        if trial.number == 1:
            raise KeyboardInterrupt
        return complete(trial, session)

    trials_are(interrupted)
    with pytest.raises(SearchInterrupted):
        search(session, trials=2)
    assert "1 complete, 1 interrupted" in get_note(study)

    def fail(study: optuna.Study) -> None:
        raise RuntimeError("no notes today")

    heard: list[Event] = []

    class Listening(Progress):
        def handle(self, event: Event) -> None:
            heard.append(event)

    monkeypatch.setattr(loop, "write_notes", fail)
    trials_are(complete)
    search(changed(session, progress=Listening()), trials=2)
    assert any(isinstance(event, Note) and "no notes today" in event.text for event in heard)


def test_a_trial_without_a_lease_is_continued_once_its_lease_expires(
    study: optuna.Study,
    session: Session,
    trials_are: Callable[[Body], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As left by a process that is killed between asking and its first heartbeat.
    study.ask()
    monkeypatch.setattr(loop, "LeaseWatch", lambda: LeaseWatch(seconds=0.5))
    trials_are(complete)

    search(session, trials=2)

    assert count_outcomes(study) == {Outcome.COMPLETE: 2, Outcome.CRASHED: 1}
    (later,) = [t for t in study.trials if TrialAttribute.CONTINUES in t.user_attrs]
    assert later.user_attrs[TrialAttribute.CONTINUES] == 0


def test_the_search_waits_for_running_trials_of_other_processes(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    notes: list[str] = []

    class Notes(Progress):
        def handle(self, event: Event) -> None:
            if isinstance(event, Note):
                notes.append(event.text)
                best.set()

    best = threading.Event()
    others = study.ask()

    def finish() -> None:
        assert best.wait(60)
        study.tell(others, 2.0)

    trials_are(complete)
    thread = threading.Thread(target=finish)
    with Lease(others):
        thread.start()
        search(replace(session, progress=Notes()), trials=2)
    thread.join()

    assert notes == ["waiting for 1 trial of other processes"]
    assert study.best_value == 2.0


@pytest.mark.parametrize("looks", range(1, 9))
def test_a_trial_that_another_process_gives_up_at_any_moment_is_continued(
    study: optuna.Study,
    session: Session,
    trials_are: Callable[[Body], None],
    monkeypatch: pytest.MonkeyPatch,
    looks: int,
) -> None:
    others, made, look = study.ask(), 0, study.get_trials

    def look_before_it_is_given_up(*arguments: Any, **options: Any) -> list[FrozenTrial]:
        nonlocal made
        made += 1
        seen = look(*arguments, **options)
        if made == looks:
            stored = look(deepcopy=False)[others.number]
            continue_later(study, stored, Outcome.INTERRUPTED, "interrupted")
        return seen

    trials_are(complete)
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(study, "get_trials", look_before_it_is_given_up)
    with Lease(others):
        search(session, trials=1)

    assert count_outcomes(study) == {Outcome.INTERRUPTED: 1, Outcome.COMPLETE: 1}


def test_a_trial_left_running_by_a_storage_failure_is_continued_by_the_same_process(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    def lose_the_storage(trial: optuna.Trial, session: Session) -> TrialResult:
        raise StorageInternalError("the server stopped")

    trials_are(lose_the_storage)
    with pytest.raises(StorageInternalError):
        search(session, trials=1)
    assert study.trials[0].state is TrialState.RUNNING

    trials_are(complete)
    search(session, trials=1)

    assert count_outcomes(study) == {Outcome.CRASHED: 1, Outcome.COMPLETE: 1}


def test_a_finished_search_leaves_no_checkpoint_anywhere(
    study: optuna.Study,
    session: Session,
    trials_are: Callable[[Body], None],
    tmp_path: Path,
) -> None:
    shared = SharedCheckpoints(open_artifacts(tmp_path / "everywhere"), warn=pytest.fail)
    session = replace(session, shared=shared)

    def die_late(trial: optuna.Trial, session: Session) -> TrialResult:
        if trial.number == 0:
            return complete(trial, session)
        folder = session.experiment.checkpoints / f"trial_{trial.number}"
        folder.mkdir(parents=True)
        (folder / "checkpoint.npz").write_bytes(b"an epoch")
        stored = study.trials[trial.number]
        end_crashed(study, stored, retries=0, shared=shared)
        share_checkpoint(trial, session)
        return TrialResult(Outcome.FAILED)

    trials_are(die_late)
    search(session, trials=2)

    assert count_outcomes(study) == {Outcome.COMPLETE: 1, Outcome.FAILED: 1}
    assert not session.experiment.checkpoints.exists()
    assert [path for path in (tmp_path / "everywhere").rglob("*") if path.is_file()] == []


def test_the_seconds_of_a_killed_search_are_stored(
    study: optuna.Study, session: Session, trials_are: Callable[[Body], None]
) -> None:
    stored = []

    def slowly(trial: optuna.Trial, session: Session) -> TrialResult:
        stored.append(trial.study.user_attrs.get(StudyAttribute.SEARCH_SECONDS, 0.0))
        time.sleep(0.1)
        return complete(trial, session)

    trials_are(slowly)
    search(session, trials=3)

    assert stored[0] == 0.0
    assert 0.1 <= stored[1] < stored[2]


def test_a_late_workers_trial_limit_refers_to_the_whole_budget(study: optuna.Study) -> None:
    study.add_trial(optuna.trial.create_trial(value=0.5))
    late = SearchTime(100.0, 80.0)

    assert late.most_trial_seconds(study) == 20.0
    assert late.left is not None
    assert 19 < late.left <= 20
