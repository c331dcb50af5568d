"""Attempts at one candidate: continued, counted once, never lost and never repeated."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.storage import TrialAttribute, open_storage, quiet_optuna
from search.system.crash import Death
from search.system.processes import host_identity
from search.training.checkpoint import Checkpoint
from search.trials import attempts
from search.trials.attempts import (
    claim,
    continue_later,
    end,
    end_crashed,
    recover_abandoned,
    trials_of_worker,
)
from search.trials.checkpoints import checkpoint_folder, remove_checkpoints
from search.trials.lease import Lease, LeaseWatch
from search.trials.outcomes import Outcome, count_outcomes, counts, outcome_of
from tests.support.attributes import candidate_of, give_lease

KILLED = Death(exit_code=None, signal="SIGKILL", out_of_memory=False, peak_memory_mib=321)
EXHAUSTED = Death(exit_code=None, signal="SIGKILL", out_of_memory=True, peak_memory_mib=9000)


def second_connection(url: str) -> optuna.Study:
    with quiet_optuna():
        return optuna.load_study(study_name="tiny", storage=open_storage(url))


def abandon(study: optuna.Study, **attributes: Any) -> FrozenTrial:
    """Creates a trial as left by a process that is killed while training."""
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    lease = {"worker": "dead", "host": host_identity(), "process": os.getpid(), "started": "once"}
    give_lease(trial, {**lease, "beat": 3})
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return frozen(study, trial.number)


def frozen(study: optuna.Study, number: int) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[number]


def recover(study: optuna.Study, **options: Any) -> list[int]:
    return recover_abandoned(study, LeaseWatch(), **options)


def test_the_continuation_of_an_abandoned_trial_keeps_its_attributes(study: optuna.Study) -> None:
    left = abandon(study, candidate="c", summary="s", epochs_trained=2.0, recipe="r", seconds=5.0)
    study._storage.set_trial_intermediate_value(left._trial_id, 2, 0.4)
    study._storage.set_trial_system_attr(left._trial_id, "completed_rung_0", 0.4)

    assert recover(study) == [0]
    assert recover(study) == []

    dead, waiting = study.get_trials(deepcopy=False)
    assert dead.state is TrialState.FAIL
    assert outcome_of(dead) is Outcome.CRASHED
    assert dead.user_attrs["reason"] == "its process died, after 2 epochs"
    assert dead.user_attrs["crashes"] == 1
    assert waiting.state is TrialState.WAITING
    assert waiting.system_attrs["fixed_params"] == dead.params
    assert waiting.system_attrs["completed_rung_0"] == 0.4
    assert waiting.intermediate_values == {2: 0.4}
    kept = {name: waiting.user_attrs[name] for name in waiting.user_attrs}
    assert kept == {
        "summary": "s",
        "epochs_trained": 2.0,
        "recipe": "r",
        "seconds": 5.0,
        "continues_trial": 0,
        "crashes": 1,
    }
    # An earlier version stored it among these.
    assert candidate_of(waiting) == "c"


def test_processes_that_are_alive_or_on_other_machines_keep_their_trials(
    study: optuna.Study,
) -> None:
    mine = study.ask()
    other = study.ask()
    far = {"worker": "w", "host": "elsewhere", "process": 1, "started": "x", "beat": 1}
    give_lease(other, far)
    with Lease(mine, worker="me"):
        assert recover(study) == []
        assert [trial.number for trial in trials_of_worker(study, "me")] == [0]
        assert trials_of_worker(study, "nobody") == []


def test_a_supervisors_own_dead_workers_are_left_to_it(study: optuna.Study) -> None:
    abandon(study)

    assert recover(study, children={"dead"}) == []
    assert recover(study, children={"another"}) == [0]


def test_a_candidate_that_repeatedly_kills_its_process_fails(study: optuna.Study) -> None:
    for _ in range(3):
        abandon(study)
        recover(study, retries=2)

    assert [outcome_of(trial) for trial in study.trials] == [
        Outcome.CRASHED,
        Outcome.CRASHED,
        Outcome.FAILED,
    ]
    assert study.trials[-1].user_attrs["reason"].endswith("; died 3 times without getting further")
    assert sum(counts(trial) for trial in study.trials) == 1


def test_a_candidate_that_makes_progress_each_time_is_always_continued(study: optuna.Study) -> None:
    for step in range(1, 13):
        abandon(study, checkpoint_step=step)
        recover(study, retries=1)

    assert count_outcomes(study) == {Outcome.CRASHED: 12}
    waiting = study.trials[-1]
    assert waiting.state is TrialState.WAITING
    assert waiting.user_attrs["checkpoint_step"] == 12
    assert waiting.user_attrs["crashes"] == 1


def test_deaths_at_the_same_checkpoint_count_regardless_of_earlier_ones(
    study: optuna.Study,
) -> None:
    for step in (0, 0, 7, 7, 7):
        abandon(study, checkpoint_step=step)
        recover(study, retries=2)

    assert [trial.user_attrs["crashes"] for trial in study.trials] == [1, 2, 1, 2, 3]
    assert study.trials[4].user_attrs["reason"].endswith("; died 3 times without getting further")
    assert outcome_of(study.trials[4]) is Outcome.FAILED


def test_an_interruption_after_progress_resets_the_count(study: optuna.Study) -> None:
    abandon(study, checkpoint_step=3)
    recover(study)
    left = abandon(study, checkpoint_step=5)
    continue_later(study, left, Outcome.INTERRUPTED, "interrupted")
    assert study.trials[-1].user_attrs["crashes"] == 0

    left = abandon(study)
    continue_later(study, left, Outcome.INTERRUPTED, "interrupted")
    abandon(study)
    recover(study)

    assert study.trials[-1].user_attrs["crashes"] == 1
    assert study.trials[-1].user_attrs["checkpoint_step"] == 5


def test_without_retries_the_first_death_fails_the_trial(study: optuna.Study) -> None:
    abandon(study)
    recover(study, retries=0)

    assert count_outcomes(study) == {Outcome.FAILED: 1}


def test_an_interruption_does_not_count_as_a_death(study: optuna.Study) -> None:
    for _ in range(5):
        continue_later(study, abandon(study), Outcome.INTERRUPTED, "interrupted")
    recover(study, retries=0)

    assert count_outcomes(study) == {Outcome.INTERRUPTED: 5}
    assert study.trials[-1].state is TrialState.WAITING
    assert study.trials[-1].user_attrs["crashes"] == 0


def test_the_details_of_a_death_are_stored_with_the_trial(study: optuna.Study) -> None:
    trial = abandon(study, epochs_trained=3.0)

    assert end_crashed(study, trial, retries=1, death=KILLED) is Outcome.CRASHED

    stored = frozen(study, 0).user_attrs
    assert (stored["signal"], stored["peak_memory_mib"]) == ("SIGKILL", 321)
    assert "exit_code" not in stored
    assert stored["epochs_trained"] == 3.0
    assert stored["reason"] == "killed by SIGKILL, peak memory 321 MiB, after 3 epochs"
    # The next attempt has not died.
    assert "signal" not in frozen(study, 1).user_attrs


def test_a_cause_replaces_the_description_of_the_death(study: optuna.Study) -> None:
    trial = abandon(study)

    end_crashed(study, trial, retries=1, death=KILLED, cause="no sign of life for 5 s")

    assert frozen(study, 0).user_attrs["reason"] == "no sign of life for 5 s, after 0 epochs"


def test_a_candidate_that_ran_out_of_memory_is_infeasible_and_not_continued(
    study: optuna.Study,
) -> None:
    trial = abandon(study)

    outcome = end_crashed(study, trial, retries=5, death=EXHAUSTED)

    assert outcome is Outcome.INFEASIBLE
    (stored,) = study.trials
    assert outcome_of(stored) is Outcome.INFEASIBLE
    assert stored.constraints == {"memory": 1.0}
    assert stored.user_attrs["constraints"] == {"memory": 1.0}
    assert counts(stored)


def test_two_processes_that_recover_the_same_trial_create_one_attempt(
    study: optuna.Study, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = second_connection(url)
    abandon(study)
    tell = study.tell

    def let_other_go_first(*arguments: Any, **options: Any) -> FrozenTrial:
        assert recover(other) == [0]
        return tell(*arguments, **options)

    # Both check for continuations before either has enqueued one.
    with monkeypatch.context() as patch:
        patch.setattr(attempts, "_continuations", lambda study, number: [])
        patch.setattr(study, "tell", let_other_go_first)
        assert recover(study) == [0]
    assert outcome_of(frozen(study, 0)) is Outcome.CRASHED
    assert frozen(study, 0).user_attrs["crashes"] == 1
    assert [trial.state for trial in study.trials[1:]] == [TrialState.WAITING] * 2

    first, second = study.ask(), other.ask()

    assert claim(study, first) is None
    assert claim(other, second) == "trial 1 continues the same"


def test_a_trial_that_finished_after_all_is_not_repeated(study: optuna.Study, url: str) -> None:
    slow = study.ask()
    left = frozen(study, 0)
    study.add_trial(attempts._continuation(left))
    slow.set_user_attr(TrialAttribute.OUTCOME, Outcome.COMPLETE)
    study.tell(slow, 0.9)

    other = second_connection(url)
    assert end(other, left, Outcome.CRASHED, "its process died") is Outcome.COMPLETE
    assert claim(other, other.ask()) == "trial 0 finished after all"


def test_a_death_between_enqueueing_and_ending_is_recovered(study: optuna.Study) -> None:
    left = abandon(study)
    study.add_trial(attempts._continuation(left))

    assert claim(study, study.ask()) is None

    assert outcome_of(frozen(study, 0)) is Outcome.CRASHED


def test_recovery_after_such_a_death_enqueues_no_second_continuation(study: optuna.Study) -> None:
    left = abandon(study)
    study.add_trial(attempts._continuation(left))

    recover(study)

    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_starting_the_continuation_early_keeps_the_details_of_the_death(
    study: optuna.Study, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sibling, add_trial = second_connection(url), study.add_trial
    claims: list[str | None] = []

    def add_and_be_overtaken(trial: FrozenTrial) -> None:
        add_trial(trial)
        claims.append(claim(sibling, sibling.ask()))

    trial = abandon(study)
    monkeypatch.setattr(study, "add_trial", add_and_be_overtaken)

    assert end_crashed(study, trial, retries=1, death=KILLED) is Outcome.CRASHED

    assert claims == [None]
    stored = frozen(study, 0).user_attrs
    assert (stored["signal"], stored["peak_memory_mib"]) == ("SIGKILL", 321)
    assert stored["reason"] == "killed by SIGKILL, peak memory 321 MiB, after 0 epochs"
    assert stored["crashes"] == frozen(study, 1).user_attrs["crashes"] == 1


@pytest.mark.parametrize("last_step", ["add_trial", "tell"])
@pytest.mark.parametrize("outcome", [Outcome.CRASHED, Outcome.INTERRUPTED])
def test_the_next_process_completes_an_unfinished_end(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, last_step: str, outcome: Outcome
) -> None:
    def die(*arguments: Any, **options: Any) -> None:
        raise MemoryError

    trial = abandon(study)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(study, last_step, die)
        if outcome is Outcome.CRASHED:
            end_crashed(study, trial, retries=1, death=KILLED)
        else:
            continue_later(study, trial, Outcome.INTERRUPTED, "interrupted")
    begun = frozen(study, 0)
    assert begun.state is TrialState.RUNNING

    assert recover(study, retries=1) == [0]

    ended, later = study.get_trials(deepcopy=False)
    assert outcome_of(ended) is outcome
    assert ended.user_attrs == begun.user_attrs
    assert later.state is TrialState.WAITING
    assert later.user_attrs["crashes"] == (outcome is Outcome.CRASHED)


def test_a_new_trial_needs_no_claim(study: optuna.Study) -> None:
    assert claim(study, study.ask()) is None


def test_the_state_takes_precedence_over_an_outcome_written_late(study: optuna.Study) -> None:
    trial = study.ask()
    trial.set_user_attr(TrialAttribute.OUTCOME, Outcome.CRASHED)
    study.tell(trial, 0.5)

    assert outcome_of(frozen(study, 0)) is Outcome.COMPLETE


def write(folder: Path, epoch: int) -> None:
    Checkpoint(folder, identity="same").write({"epoch": epoch}, {"w": [np.full(3, epoch)]})


def read(folder: Path) -> Any:
    saved = Checkpoint(folder, identity="same").read()
    return None if saved is None else saved[0]["epoch"]


def chain(study: optuna.Study, length: int) -> list[optuna.Trial]:
    """Creates `length` attempts at one candidate; the last one is still running."""
    trials = [study.ask()]
    for _ in range(length - 1):
        continue_later(study, frozen(study, trials[-1].number), Outcome.CRASHED, "died")
        trials.append(study.ask())
    return trials


def test_a_late_writer_leaves_the_next_attempts_checkpoint_alone(
    study: optuna.Study, tmp_path: Path
) -> None:
    first, second = chain(study, 2)
    late = checkpoint_folder(first, tmp_path)
    write(late, 4)
    folder = checkpoint_folder(second, tmp_path)
    assert read(folder) == 4

    write(late, 5)
    assert read(folder) == 4
    write(folder, 6)
    assert (read(late), read(folder)) == (5, 6)
    # Asked again, as after a restart, it keeps its own checkpoint.
    assert read(checkpoint_folder(second, tmp_path)) == 6


def test_an_attempt_that_died_before_its_first_checkpoint_loses_no_epochs(
    study: optuna.Study, tmp_path: Path
) -> None:
    trials = chain(study, 4)
    write(checkpoint_folder(trials[0], tmp_path), 7)

    assert read(checkpoint_folder(trials[3], tmp_path)) == 7


def test_checkpoints_are_copied_on_a_file_system_without_links(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    first, second = chain(study, 2)
    write(checkpoint_folder(first, tmp_path), 4)

    folder = checkpoint_folder(second, tmp_path)

    assert read(folder) == 4
    assert [path.name for path in folder.iterdir()] == ["checkpoint.npz"]


def test_a_finished_trial_leaves_no_checkpoint_of_any_attempt(
    study: optuna.Study, tmp_path: Path
) -> None:
    other = study.ask()
    trials = chain(study, 3)
    for trial in (other, *trials):
        write(checkpoint_folder(trial, tmp_path), 1)

    remove_checkpoints(study, trials[-1].number, tmp_path)

    assert [path.name for path in tmp_path.glob("trial_*")] == [f"trial_{other.number}"]


RACER = """
import sys
import optuna
from search.trials.attempts import recover_abandoned
from search.trials.lease import LeaseWatch
from search.storage import open_storage, quiet_optuna
with quiet_optuna():
    study = optuna.load_study(study_name="tiny", storage=open_storage(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    recover_abandoned(study, LeaseWatch())
"""


def test_real_processes_recover_concurrently(
    study: optuna.Study, url: str, repository: Path
) -> None:
    for _ in range(4):
        abandon(study)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        assert racer.communicate(timeout=120)[0] == ""
        assert racer.returncode == 0

    assert count_outcomes(study) == {Outcome.CRASHED: 4}
    claims = []
    while any(trial.state is TrialState.WAITING for trial in study.trials):
        trial = study.ask()
        unneeded = claim(study, trial)
        if unneeded is None:
            claims.append(trial.user_attrs[TrialAttribute.CONTINUES])
    assert sorted(claims) == [0, 1, 2, 3]
