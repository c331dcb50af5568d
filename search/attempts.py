"""The attempts at one candidate: a trial that was cut short is continued by a later one.

Each attempt is a trial with a number and a checkpoint folder of its own. Several processes may find
the same trial abandoned at once, and its own process may wake up at any moment; what decides is who
ends the trial first, which storages do atomically.
"""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.crash import Death
from search.lease import LeaseWatch, is_gone, lease_of
from search.outcomes import Outcome, outcome_of
from search.storage import TrialAttribute

if TYPE_CHECKING:
    from search.shared_checkpoints import SharedCheckpoints

DEFAULT_RETRIES = 2
_CHECKPOINT = "checkpoint.npz"
_DIED = "its process died"


def recover_abandoned(
    study: optuna.Study,
    watch: LeaseWatch,
    *,
    retries: int = DEFAULT_RETRIES,
    children: Collection[str] = (),
) -> list[int]:
    """Continues or fails the running trials whose process is gone; returns their numbers.

    Of this process' own workers, `children`, only suspended ones are looked for: who has died is
    asked about his death before his trial ends.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    abandoned = [
        trial
        for trial in watch.lapsed(running)
        if not (is_gone(lease := lease_of(trial)) and lease["worker"] in children)
    ]
    for trial in abandoned:
        end_crashed(study, trial, retries=retries)
    return [trial.number for trial in abandoned]


def trials_of_worker(study: optuna.Study, worker: str) -> list[FrozenTrial]:
    """Returns the running trials that a worker holds."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if lease_of(trial).get("worker") == worker]


def end_crashed(
    study: optuna.Study,
    trial: FrozenTrial,
    *,
    retries: int,
    death: Death | None = None,
    cause: str | None = None,
) -> Outcome:
    """Ends a trial whose process died, and returns what became of it.

    `cause` says more than the death does. The trial goes on in another one, from its last
    checkpoint, up to `retries` times. A candidate that ran out of memory is infeasible: unchanged
    it would do so again.
    """
    epoch = trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED, 0)
    reason = f"{cause or (_DIED if death is None else death.describe())}, after {epoch:g} epochs"
    crashes = int(trial.user_attrs.get(TrialAttribute.CRASHES, 0)) + 1
    details: dict[TrialAttribute, Any] = {TrialAttribute.CRASHES: crashes}
    if death is not None:
        details[TrialAttribute.EXIT_CODE] = death.exit_code
        details[TrialAttribute.SIGNAL] = death.signal
        details[TrialAttribute.PEAK_MEMORY_MIB] = death.peak_memory_mib
    if death is not None and death.out_of_memory:
        return end(study, trial, Outcome.INFEASIBLE, reason, details, constraint="memory")
    if crashes > retries:
        return end(study, trial, Outcome.FAILED, f"{reason}; died {crashes} times", details)
    return continue_later(study, trial, Outcome.CRASHED, reason, details)


def continue_later(
    study: optuna.Study,
    trial: FrozenTrial,
    outcome: Outcome,
    reason: str,
    details: Mapping[TrialAttribute, Any] | None = None,
) -> Outcome:
    """Ends a trial as interrupted or crashed, and enqueues its continuation.

    The continuation comes first: a process that dies in between leaves a trial that the next one
    finds abandoned. Where that makes two continuations, `claim` drops all but the first.
    """
    details = details or {}
    crashes = details.get(TrialAttribute.CRASHES, trial.user_attrs.get(TrialAttribute.CRASHES, 0))
    if not _continuations(study, trial.number):
        study.add_trial(_continuation(trial, crashes))
    return end(study, trial, outcome, reason, details)


def end(
    study: optuna.Study,
    trial: FrozenTrial,
    outcome: Outcome,
    reason: str,
    details: Mapping[TrialAttribute, Any] | None = None,
    *,
    constraint: str | None = None,
) -> Outcome:
    """Ends a running trial without a value; returns how it ended where another one was first."""
    storage = study._storage
    attributes = {
        **(details or {}),
        TrialAttribute.REASON: reason,
        TrialAttribute.OUTCOME: outcome,
    }
    state = TrialState.PRUNED if outcome is Outcome.INFEASIBLE else TrialState.FAIL
    try:
        for name, value in attributes.items():
            if value is not None:
                storage.set_trial_user_attr(trial._trial_id, name, value)
        if constraint is not None:
            # As Trial.set_constraint does, for a trial that this process does not run.
            storage.set_trial_system_attr(trial._trial_id, f"{_CONSTRAINTS_KEY}:{constraint}", 1.0)
            storage.set_trial_user_attr(
                trial._trial_id, TrialAttribute.CONSTRAINTS, {constraint: 1.0}
            )
        study.tell(trial.number, state=state)
    except (UpdateFinishedTrialError, ValueError):
        return outcome_of(storage.get_trial(trial._trial_id))
    return outcome


def claim(study: optuna.Study, trial: optuna.Trial) -> str | None:
    """Makes sure that a continuation just begun is the only one; returns why it is not needed.

    The trial that it continues may still be running for the storage, or may have finished after
    all; and two processes may have enqueued a continuation at once.
    """
    continued = trial.user_attrs.get(TrialAttribute.CONTINUES)
    if continued is None:
        return None
    original = study.get_trials(deepcopy=False)[int(continued)]
    if original.state is TrialState.RUNNING:
        end(study, original, Outcome.CRASHED, _DIED)
        original = study._storage.get_trial(original._trial_id)
    if outcome_of(original).counts:
        return f"trial {continued} finished after all"
    first = min(_continuations(study, int(continued)))
    return None if trial.number == first else f"trial {first} continues the same"


def checkpoint_folder(
    trial: optuna.Trial, checkpoints: Path, shared: "SharedCheckpoints | None" = None
) -> Path:
    """Returns the trial's own folder, with the last checkpoint of the attempts before it.

    An attempt that left none on this machine may have kept one among the `shared` ones; and one
    may have died before it came to a checkpoint, so that an earlier attempt's is the last. An
    attempt that wakes up late writes into its own folder, and harms nobody.
    """
    folder = checkpoints / f"trial_{trial.number}"
    for number in _attempts_before(trial):
        if (folder / _CHECKPOINT).exists():
            break
        earlier = checkpoints / f"trial_{number}" / _CHECKPOINT
        if earlier.exists():
            _take_over(earlier, folder)
        elif shared is not None:
            shared.pull(shared_name(trial.study, number), folder)
    return folder


def _take_over(earlier: Path, folder: Path) -> None:
    # A checkpoint is replaced, never written into, so that a link keeps what it points to.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(earlier, folder / _CHECKPOINT)
        except OSError:
            partial = folder / f"{_CHECKPOINT}.{os.getpid()}.partial"
            shutil.copyfile(earlier, partial)
            partial.replace(folder / _CHECKPOINT)


def remove_checkpoints(
    study: optuna.Study,
    number: int,
    checkpoints: Path,
    shared: "SharedCheckpoints | None" = None,
) -> None:
    """Removes the checkpoint folders of a finished trial and of the attempts before it."""
    trials = study.get_trials(deepcopy=False)
    attempt: int | None = number
    while attempt is not None:
        shutil.rmtree(checkpoints / f"trial_{attempt}", ignore_errors=True)
        if shared is not None:
            shared.remove(shared_name(study, attempt))
        attempt = trials[attempt].user_attrs.get(TrialAttribute.CONTINUES)


def shared_name(study: optuna.Study, number: int) -> str:
    """Returns the name of a trial's checkpoint where several machines keep theirs."""
    return f"{study.study_name}/trial_{number}"


def _attempts_before(trial: optuna.Trial) -> Iterator[int]:
    """Yields the numbers of the trials that a trial continues, the last one first."""
    trials = trial.study.get_trials(deepcopy=False)
    attempt = trial.user_attrs.get(TrialAttribute.CONTINUES)
    while attempt is not None:
        yield attempt
        attempt = trials[attempt].user_attrs.get(TrialAttribute.CONTINUES)


def _continuations(study: optuna.Study, number: int) -> list[int]:
    """Returns the numbers of the trials that continue a trial, those aside that gave way."""
    return [
        trial.number
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get(TrialAttribute.CONTINUES) == number
    ]


def _continuation(trial: FrozenTrial, crashes: int) -> FrozenTrial:
    kept = (TrialAttribute.CANDIDATE, TrialAttribute.SUMMARY, TrialAttribute.EPOCHS_TRAINED)
    attributes: dict[str, Any] = {
        name: trial.user_attrs[name]
        for name in (*kept, TrialAttribute.SECONDS, TrialAttribute.RECIPE)
        if name in trial.user_attrs
    }
    attributes[TrialAttribute.CONTINUES] = trial.number
    attributes[TrialAttribute.CRASHES] = crashes
    # Values that an enqueued trial was given beforehand stand for what it did not come to suggest.
    fixed = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    rungs = {k: v for k, v in trial.system_attrs.items() if k.startswith("completed_rung_")}
    return create_trial(
        state=TrialState.WAITING,
        user_attrs=attributes,
        system_attrs={"fixed_params": fixed, **rungs},
        intermediate_values=trial.intermediate_values,
    )
