"""Attempts at one candidate: a later trial continues one that was interrupted or crashed.

Each attempt is a trial with its own number. Several processes may find the same trial abandoned at
once, and its own process may resume at any moment; whoever ends the trial first decides, and
storages make that atomic.

Why not return the trial to the queue (RUNNING to WAITING) and keep its number? Because nothing
would fence off the old holder. Optuna's storage API has two atomic transitions: WAITING to RUNNING,
and any state to a finished one, after which every write to the trial is refused. A trial that runs
again accepts reports, attributes and a result from any process that knows its id, also from a
suspended holder that resumes late, and a late second give-back takes it from its new owner. A
check of an owner attribute before each write is not atomic with the write, and only the storage API
works alike on SQLite, PostgreSQL and the gRPC proxy. So the fence is the end of the trial: an
attempt that was ended can write nothing any more.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.attributes import TrialAttribute, system_key, trial_attribute
from search.system.crash import Death
from search.trials.checkpoints import remove_shared
from search.trials.lease import LeaseWatch, is_gone, lease_of
from search.trials.outcomes import Outcome, outcome_of

if TYPE_CHECKING:
    from search.trials.shared_checkpoints import SharedCheckpoints

DEFAULT_RETRIES = 2
_DIED = "its process died"


def recover_abandoned(
    study: optuna.Study,
    watch: LeaseWatch,
    *,
    retries: int = DEFAULT_RETRIES,
    children: Collection[str] = (),
    shared: "SharedCheckpoints | None" = None,
) -> list[int]:
    """Continues or fails the running trials whose process is gone; returns their numbers.

    For this process's own workers (`children`) only suspended ones count: a dead worker's
    supervisor first records how it died. `shared` checkpoints that no attempt needs any more are
    removed.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    abandoned = [
        trial
        for trial in watch.lapsed(running)
        if not (is_gone(lease := lease_of(trial)) and lease["worker"] in children)
    ]
    for trial in abandoned:
        end_crashed(study, trial, retries=retries, shared=shared)
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
    shared: "SharedCheckpoints | None" = None,
) -> Outcome:
    """Ends a trial whose process died; returns its outcome.

    `cause` replaces the description of the death in the stored reason. Another trial continues it
    from its last checkpoint, up to `retries` times without a later checkpoint in between. A
    candidate that ran out of memory is infeasible: unchanged, it would run out again. The `shared`
    checkpoints of a trial that will not be continued are removed.
    """
    outcome = _end_crashed(study, trial, retries=retries, death=death, cause=cause)
    if outcome.counts and shared is not None:
        remove_shared(study, trial.number, shared)
    return outcome


def _end_crashed(
    study: optuna.Study,
    trial: FrozenTrial,
    *,
    retries: int,
    death: Death | None,
    cause: str | None,
) -> Outcome:
    begun = _begun_to_end(trial)
    if begun is not None and death is None and cause is None:
        # The process that recorded this end knew more, but died before it ended the trial.
        return _go_on(study, trial, begun)
    epoch = trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED, 0)
    reason = f"{cause or (_DIED if death is None else death.describe())}, after {epoch:g} epochs"
    crashes = _deaths_before(study, trial) + 1
    details: dict[TrialAttribute, Any] = {TrialAttribute.CRASHES: crashes}
    if death is not None:
        details[TrialAttribute.EXIT_CODE] = death.exit_code
        details[TrialAttribute.SIGNAL] = death.signal
        details[TrialAttribute.PEAK_MEMORY_MIB] = death.peak_memory_mib
    if death is not None and death.out_of_memory:
        return end(study, trial, Outcome.INFEASIBLE, reason, details, constraint="memory")
    if crashes > retries:
        times = "once" if crashes == 1 else f"{crashes} times"
        reason = f"{reason}; died {times} without getting further"
        return end(study, trial, Outcome.FAILED, reason, details)
    return continue_later(study, trial, Outcome.CRASHED, reason, details)


def continue_later(
    study: optuna.Study,
    trial: FrozenTrial,
    outcome: Outcome,
    reason: str,
    details: Mapping[TrialAttribute, Any] | None = None,
) -> Outcome:
    """Ends a trial as interrupted or crashed, and enqueues its continuation.

    The order matters. First the attributes are written, because a process that starts the
    continuation may end the trial; then the continuation is enqueued; then the trial ends. If the
    process dies in between, the next process finds an abandoned trial and recovers it. If that
    makes two continuations, `claim` drops all but the first.
    """
    details = details or {TrialAttribute.CRASHES: _deaths_before(study, trial)}
    if not _record(study, trial, outcome, reason, details):
        return outcome_of(study._storage.get_trial(trial._trial_id))
    return _go_on(study, study._storage.get_trial(trial._trial_id), outcome)


def end(
    study: optuna.Study,
    trial: FrozenTrial,
    outcome: Outcome,
    reason: str,
    details: Mapping[TrialAttribute, Any] | None = None,
    *,
    constraint: str | None = None,
) -> Outcome:
    """Ends a running trial without a value; returns its outcome, maybe of an earlier end."""
    if not _record(study, trial, outcome, reason, details or {}, constraint=constraint):
        return outcome_of(study._storage.get_trial(trial._trial_id))
    return _tell(study, trial, outcome)


def _begun_to_end(trial: FrozenTrial) -> Outcome | None:
    """Returns the outcome that was recorded for a running trial about to be continued, if any."""
    recorded = trial.user_attrs.get(TrialAttribute.OUTCOME)
    return Outcome(recorded) if recorded in (Outcome.INTERRUPTED, Outcome.CRASHED) else None


def _record(
    study: optuna.Study,
    trial: FrozenTrial,
    outcome: Outcome,
    reason: str,
    details: Mapping[TrialAttribute, Any],
    *,
    constraint: str | None = None,
) -> bool:
    """Writes the attributes of a trial's end; returns False if it has ended already."""
    storage = study._storage
    attributes = {**details, TrialAttribute.REASON: reason, TrialAttribute.OUTCOME: outcome}
    try:
        for name, value in attributes.items():
            if value is not None:
                storage.set_trial_user_attr(trial._trial_id, name, value)
        if constraint is not None:
            # Like Trial.set_constraint, which exists only in the process that runs the trial.
            storage.set_trial_system_attr(trial._trial_id, f"{_CONSTRAINTS_KEY}:{constraint}", 1.0)
            storage.set_trial_user_attr(
                trial._trial_id, TrialAttribute.CONSTRAINTS, {constraint: 1.0}
            )
    except UpdateFinishedTrialError:
        return False
    return True


def _deaths_before(study: optuna.Study, trial: FrozenTrial) -> int:
    """Returns how often the candidate's process died before without progress.

    The count restarts when a trial has kept a later checkpoint than the trial it continues.
    """
    continued = trial.user_attrs.get(TrialAttribute.CONTINUES)
    if continued is None:
        return int(trial.user_attrs.get(TrialAttribute.CRASHES, 0))
    earlier = study.get_trials(deepcopy=False)[int(continued)].user_attrs
    step = trial.user_attrs.get(TrialAttribute.CHECKPOINT_STEP, 0)
    if step > earlier.get(TrialAttribute.CHECKPOINT_STEP, 0):
        return 0
    return int(trial.user_attrs.get(TrialAttribute.CRASHES, 0))


def _go_on(study: optuna.Study, trial: FrozenTrial, outcome: Outcome) -> Outcome:
    """Enqueues the continuation of a trial whose end is recorded, then ends the trial."""
    if not _continuations(study, trial.number):
        study.add_trial(_continuation(trial))
    return _tell(study, trial, outcome)


def _tell(study: optuna.Study, trial: FrozenTrial, outcome: Outcome) -> Outcome:
    """Ends a trial whose end is recorded; returns its outcome, maybe of an earlier end."""
    state = TrialState.PRUNED if outcome is Outcome.INFEASIBLE else TrialState.FAIL
    try:
        study.tell(trial.number, state=state)
    except (UpdateFinishedTrialError, ValueError):
        return outcome_of(study._storage.get_trial(trial._trial_id))
    return outcome


def claim(study: optuna.Study, trial: optuna.Trial) -> str | None:
    """Makes sure that a continuation that just started is the only one; returns why it is not.

    The trial it continues may still be RUNNING in the storage, or may have finished after all, and
    two processes may have enqueued a continuation at once. None means that it is needed.
    """
    continued = trial.user_attrs.get(TrialAttribute.CONTINUES)
    if continued is None:
        return None
    original = study.get_trials(deepcopy=False)[int(continued)]
    if original.state is TrialState.RUNNING:
        begun = _begun_to_end(original)
        if begun is None:
            end(study, original, Outcome.CRASHED, _DIED)
        else:
            _tell(study, original, begun)
        original = study._storage.get_trial(original._trial_id)
    if outcome_of(original).counts:
        return f"trial {continued} finished after all"
    first = min(_continuations(study, int(continued)))
    return None if trial.number == first else f"trial {first} continues the same"


def _continuations(study: optuna.Study, number: int) -> list[int]:
    """Returns the numbers of the trials that continue `number`."""
    return [
        trial.number
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get(TrialAttribute.CONTINUES) == number
    ]


def _continuation(trial: FrozenTrial) -> FrozenTrial:
    kept = (
        TrialAttribute.SUMMARY,
        TrialAttribute.EPOCHS_TRAINED,
        TrialAttribute.CHECKPOINT_STEP,
        TrialAttribute.SECONDS,
        TrialAttribute.RECIPE,
    )
    attributes: dict[str, Any] = {
        name: trial.user_attrs[name] for name in kept if name in trial.user_attrs
    }
    attributes[TrialAttribute.CONTINUES] = trial.number
    attributes[TrialAttribute.CRASHES] = int(trial.user_attrs.get(TrialAttribute.CRASHES, 0))
    # An enqueued trial's fixed values also cover the parameters that it had not suggested yet.
    fixed = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    rungs = {k: v for k, v in trial.system_attrs.items() if k.startswith("completed_rung_")}
    stored = trial_attribute(trial, TrialAttribute.CANDIDATE)
    candidate = {} if stored is None else {system_key(TrialAttribute.CANDIDATE): stored}
    return create_trial(
        state=TrialState.WAITING,
        user_attrs=attributes,
        system_attrs={"fixed_params": fixed, **rungs, **candidate},
        intermediate_values=trial.intermediate_values,
    )
