"""The search: ask, run, tell, until the total, the budget or Ctrl-C ends it."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.errors import SearchFailure, SearchInterrupted
from search.objective import (
    Outcome,
    TrialContext,
    TrialResult,
    identify_process,
    remove_checkpoints,
    run_trial,
)
from search.storage import StudyAttribute, TrialAttribute
from search.winner import best_trial

# One slow candidate must not eat the budget of all others; its retraining would be slow as well.
_TRIAL_SHARE_OF_BUDGET = 0.2
# A trial whose process died more often than this is taken for the cause.
_CRASHES_FORGIVEN = 2
# Our workers store their process right after asking; a trial without one this long is abandoned.
_ANONYMOUS_SECONDS = 60.0
_CLOCK_TOLERANCE_SECONDS = 2.0
_OUTCOME_OF_STATE = {
    TrialState.COMPLETE: Outcome.COMPLETE,
    TrialState.PRUNED: Outcome.PRUNED,
    TrialState.FAIL: Outcome.FAILED,
}


@dataclass
class Budget:
    """Bounds a search's wall-clock time, summed over all starts of the same study."""

    seconds: float | None
    spent_before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """Seconds that this and earlier starts have searched."""
        return self.spent_before + time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds left; None without a bound."""
        return None if self.seconds is None else self.seconds - self.spent


def search(
    study: optuna.Study, context: TrialContext, *, trials: int, budget_seconds: float | None
) -> None:
    """Runs trials until `trials` have finished in all, counting those of earlier starts.

    Complete, pruned, infeasible and failed trials count; interrupted ones are continued and count
    when they finish. After `budget_seconds` no trial starts and the running one ends as pruned at
    its next report, except that the search goes on with it while none is complete. Once one is,
    a candidate that would need more than a fifth of the budget is infeasible.
    Raises SearchInterrupted after Ctrl-C, and SearchFailure when no trial completes.
    """
    recover_abandoned(study, context.checkpoints)
    budget = Budget(budget_seconds, float(study.user_attrs.get(StudyAttribute.SEARCH_SECONDS, 0)))
    context = replace(
        context,
        stop_reason=lambda: _over(study, budget),
        most_trial_seconds=lambda: _most_trial_seconds(study, budget),
    )
    _announce(study, context, trials, budget)
    with _time_kept(study, budget), context.interruption.deferred():
        while _has_room(study, trials) and _has_time(study, budget, context):
            context.interruption.check()
            _run_next(study, context)
    context.interruption.check()
    context.progress.search_finished()
    if not _any_complete(study):
        raise SearchFailure(_explain_failure(study))


def outcome(trial: FrozenTrial) -> Outcome:
    """Returns how a finished trial ended."""
    stored = trial.user_attrs.get(TrialAttribute.OUTCOME)
    return Outcome(stored) if stored else _OUTCOME_OF_STATE[trial.state]


def count_outcomes(study: optuna.Study) -> Counter[Outcome]:
    """Counts the finished trials of a study by how they ended."""
    trials = study.get_trials(deepcopy=False)
    return Counter(outcome(trial) for trial in trials if trial.state.is_finished())


def recover_abandoned(study: optuna.Study, checkpoints: Path) -> list[int]:
    """Continues or fails the running trials whose process on this machine is gone.

    Returns their numbers. Trials of live processes, and of other machines, are left alone.
    """
    abandoned = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_abandoned(trial):
            continue
        abandoned.append(trial.number)
        crashes = int(trial.user_attrs.get(TrialAttribute.CRASHES, 0)) + 1
        if crashes > _CRASHES_FORGIVEN:
            reason = f"its process died {crashes} times"
            _end(study, trial, Outcome.FAILED, reason)
            remove_checkpoints(trial.user_attrs, checkpoints)
        else:
            _continue_later(study, trial, "its process died", crashes=crashes)
    return abandoned


def _run_next(study: optuna.Study, context: TrialContext) -> None:
    with context.clock.measure("sampling"):
        trial = study.ask()
    started = time.monotonic()
    try:
        with context.clock.measure("storage"):
            identify_process(trial)
        result = run_trial(trial, context)
    except KeyboardInterrupt:
        frozen = study._storage.get_trial(trial._trial_id)
        if not frozen.state.is_finished():
            _continue_later(study, frozen, "interrupted")
        _finished(study, context, trial.number, TrialResult(Outcome.INTERRUPTED), started)
        raise SearchInterrupted from None
    _finished(study, context, trial.number, result, started)


def _finished(
    study: optuna.Study, context: TrialContext, number: int, result: TrialResult, started: float
) -> None:
    best = best_trial(study)
    context.progress.trial_finished(
        number=number,
        state=result.outcome.value,
        value=result.value,
        reason=result.reason,
        seconds=time.monotonic() - started,
        best_value=None if best is None else best.value,
    )


def _announce(study: optuna.Study, context: TrialContext, trials: int, budget: Budget) -> None:
    counts = count_outcomes(study)
    best = best_trial(study)
    context.progress.search_started(
        study_name=study.study_name,
        trials=trials,
        finished=counts[Outcome.COMPLETE],
        pruned=counts[Outcome.PRUNED],
        infeasible=counts[Outcome.INFEASIBLE],
        failed=counts[Outcome.FAILED],
        best_value=None if best is None else best.value,
        best_trial=None if best is None else best.number,
        metric=context.metric,
        budget_seconds=None if budget.left is None else max(0.0, budget.left),
    )


def _has_room(study: optuna.Study, trials: int) -> bool:
    counts = count_outcomes(study)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return counts.total() - counts[Outcome.INTERRUPTED] + len(running) < trials


def _has_time(study: optuna.Study, budget: Budget, context: TrialContext) -> bool:
    """Whether a trial that starts now can still become the winner."""
    left = budget.left
    if left is None:
        return True
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    seconds = [float(trial.user_attrs.get(TrialAttribute.SECONDS, 0)) for trial in complete]
    trained = [spent for spent, trial in zip(seconds, complete, strict=True) if _trained(trial)]
    if left > min(trained, default=0.0):
        return True
    if left > 0:
        context.progress.note(
            f"{left:.0f} s of the budget are left and the quickest complete trial took "
            f"{min(trained):.0f} s: no further trial starts."
        )
    return False


def _trained(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED))


def _over(study: optuna.Study, budget: Budget) -> str | None:
    left = budget.left
    if left is None or left > 0 or not _any_complete(study):
        return None
    return f"the search's budget of {budget.seconds:g} s is over"


def _most_trial_seconds(study: optuna.Study, budget: Budget) -> float | None:
    if budget.seconds is None or not _any_complete(study):
        return None
    return budget.seconds * _TRIAL_SHARE_OF_BUDGET


def _any_complete(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


@contextmanager
def _time_kept(study: optuna.Study, budget: Budget) -> Iterator[None]:
    try:
        yield
    finally:
        study.set_user_attr(StudyAttribute.SEARCH_SECONDS, round(budget.spent, 3))


def _explain_failure(study: optuna.Study) -> str:
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    reasons = Counter(
        f"{outcome(trial)}: {trial.user_attrs.get(TrialAttribute.REASON, 'unknown reason')}"
        for trial in finished
        if outcome(trial) is not Outcome.INTERRUPTED
    )
    if not reasons:
        return (
            f"The search {study.study_name!r} ended before any trial started: its budget was over "
            f"or its total reached. Raise --budget or --trials."
        )
    lines = "\n".join(f"  {count} x {text}" for text, count in reasons.most_common(5))
    return (
        f"None of the {reasons.total()} finished trials of {study.study_name!r} is complete, so "
        f"there is no winner to retrain:\n{lines}\nMend the cause, then start another study with "
        f"--study-name NEW, or add trials to this one with --trials."
    )


def _continue_later(
    study: optuna.Study, trial: FrozenTrial, reason: str, *, crashes: int = 0
) -> None:
    """Ends a trial as interrupted and enqueues its continuation, once.

    The continuation comes first: a process that dies in between leaves a trial that the next start
    finds abandoned, and whose continuation it finds waiting.
    """
    everything = study.get_trials(deepcopy=False)
    if not any(t.user_attrs.get(TrialAttribute.CONTINUES) == trial.number for t in everything):
        study.add_trial(_continuation(trial, crashes))
    _end(study, trial, Outcome.INTERRUPTED, reason)


def _continuation(trial: FrozenTrial, crashes: int) -> FrozenTrial:
    kept = (TrialAttribute.CANDIDATE, TrialAttribute.SUMMARY, TrialAttribute.CHECKPOINTS)
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


def _end(study: optuna.Study, trial: FrozenTrial, outcome: Outcome, reason: str) -> None:
    storage = study._storage
    storage.set_trial_user_attr(trial._trial_id, TrialAttribute.OUTCOME, outcome)
    storage.set_trial_user_attr(trial._trial_id, TrialAttribute.REASON, reason)
    study.tell(trial.number, state=TrialState.FAIL)


def _is_abandoned(trial: FrozenTrial) -> bool:
    host = trial.user_attrs.get(TrialAttribute.HOST)
    if host is None:
        begun = trial.datetime_start
        return begun is not None and time.time() - begun.timestamp() > _ANONYMOUS_SECONDS
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(trial.user_attrs[TrialAttribute.PROCESS]))
        started = float(trial.user_attrs[TrialAttribute.PROCESS_STARTED])
        same = abs(process.create_time() - started) < _CLOCK_TOLERANCE_SECONDS
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, KeyError):
        return True
