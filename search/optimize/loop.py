"""The search loop: ask, run, tell, until enough trials have finished, time is up, or Ctrl-C."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from search.errors import SearchFailure, SearchInterrupted
from search.optimize.notes import write_notes
from search.optimize.winner import best_trial
from search.progress.events import SearchFinished, SearchStarted, TrialFinished
from search.storage import StudyAttribute, TrialAttribute
from search.trials.attempts import DEFAULT_RETRIES, claim, continue_later, end, recover_abandoned
from search.trials.checkpoints import remove_left_checkpoints
from search.trials.lease import LEASE_SECONDS, Lease, LeaseWatch
from search.trials.objective import TrialResult, run_trial
from search.trials.outcomes import Outcome, count_outcomes, counts, outcome_of
from search.trials.reporter import share_checkpoint
from search.trials.search_time import any_complete
from search.trials.session import Session

_SECONDS_BETWEEN_LOOKS = 1.0
# More trials than any search reaches: only time ends it.
UNLIMITED_TRIALS = 10**9


def search(session: Session, *, retries: int = DEFAULT_RETRIES) -> None:
    """Runs trials in this process until the experiment's number of trials have finished.

    Complete, pruned, infeasible and failed trials of earlier starts count; interrupted and crashed
    ones are continued and count when they finish. When time is up no trial starts and the running
    one is pruned at its next report, except that the search continues until one trial is complete.
    From then on, a candidate that would need more than a fifth of the search time is infeasible.
    Raises SearchInterrupted after Ctrl-C, and SearchFailure if no trial completes.
    """
    watch, noted = LeaseWatch(), False
    with searching(session):
        with session.interruption.deferred():
            while not session.interruption.requested:
                recover_abandoned(session.study, watch, retries=retries, shared=session.shared)
                run_trials(session, after_trial=lambda: remember_seconds(session))
                left = work_left(session)
                if left.is_none:
                    break
                if left.may_start:
                    continue
                if not noted:
                    session.progress.note(waiting_for(left.running))
                    noted = True
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        session.interruption.check()


@dataclass(frozen=True, kw_only=True)
class WorkLeft:
    """The work left in a search, from a single read of its trials.

    Both values must come from one read. Between two reads another process may give up a trial: the
    first read counts it as running and the second does not, and no process would continue it.
    """

    may_start: bool
    running: int

    @property
    def is_none(self) -> bool:
        """Whether no trial may start and none is running (it could still be given up)."""
        return not self.may_start and not self.running


def work_left(session: Session) -> WorkLeft:
    """Returns whether another trial may start, and how many are running in any process."""
    study = session.study
    everything = study.get_trials(deepcopy=False)
    has_time = session.time.reason_to_end(study) is None
    return WorkLeft(
        may_start=_is_room(everything, session.experiment.trials) and has_time,
        running=sum(trial.state is TrialState.RUNNING for trial in everything),
    )


@contextmanager
def searching(session: Session) -> Iterator[None]:
    """Announces a search, tracks its time, and checks at the end that a trial completed."""
    study, experiment = session.study, session.experiment
    session.time.begin(float(study.user_attrs.get(StudyAttribute.SEARCH_SECONDS, 0)))
    _announce(session)
    try:
        yield
    finally:
        remember_seconds(session)
        if not isinstance(sys.exception(), StorageInternalError):
            _note_for_dashboard(session)
    if not any(_needs_checkpoints(trial) for trial in study.get_trials(deepcopy=False)):
        remove_left_checkpoints(study, experiment.checkpoints, session.shared)
    reason = session.time.reason_to_end(study)
    if reason is not None and has_room(study, experiment.trials):
        session.progress.note(reason)
    best = best_trial(study)
    session.progress.handle(
        SearchFinished(
            best_value=None if best is None else best.value,
            best_trial=None if best is None else best.number,
        )
    )
    if not any_complete(study):
        raise SearchFailure(_explain_failure(study))


def run_trials(
    session: Session,
    *,
    worker: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
    leaving: Callable[[], bool] = lambda: False,
    after_trial: Callable[[], None] = lambda: None,
) -> None:
    """Runs trials one after another until no more are needed; every worker runs this.

    Other processes may work on the same study at the same time.
    """
    while work_left(session).may_start and not leaving():
        session.interruption.check()
        with session.clock.measure("sampling"):
            trial = session.study.ask()
        with Lease(trial, worker=worker, seconds=lease_seconds) as lease:
            _run_one(session, trial, lease)
        after_trial()


def remember_seconds(session: Session) -> None:
    """Stores how long the study has been searched, so that a later start can continue the count."""
    session.study.set_user_attr(StudyAttribute.SEARCH_SECONDS, round(session.time.spent, 3))


def _note_for_dashboard(session: Session) -> None:
    try:
        write_notes(session.study)
    except Exception as error:  # the search itself is whole
        session.progress.note(f"the dashboard's notes could not be written: {error}")


def waiting_for(others: int) -> str:
    """Returns the note that a search waits for other processes: they may have the winner."""
    return f"waiting for {others} trial{'s' * (others > 1)} of other processes"


def has_room(study: optuna.Study, trials: int) -> bool:
    """Returns whether fewer than `trials` trials have finished or are running."""
    return _is_room(study.get_trials(deepcopy=False), trials)


def _is_room(everything: list[optuna.trial.FrozenTrial], trials: int) -> bool:
    begun = (trial for trial in everything if trial.state is not TrialState.WAITING)
    return sum(counts(trial) for trial in begun) < trials


def _run_one(session: Session, trial: optuna.Trial, lease: Lease) -> None:
    study, started = session.study, time.monotonic()
    try:
        unneeded = claim(study, trial)
        if unneeded is None and _is_surplus(study, trial.number, session.experiment.trials):
            unneeded = "the total was reached"
        if unneeded is not None:
            end(study, _frozen(trial), Outcome.INTERRUPTED, unneeded)
            return
        result = run_trial(trial, session, lease)
    except UpdateFinishedTrialError:
        # This process was suspended for so long that another one took the trial over.
        result = TrialResult(Outcome.INTERRUPTED, reason="another process continued it")
    except KeyboardInterrupt:
        share_checkpoint(trial, session)
        continue_later(study, _frozen(trial), Outcome.INTERRUPTED, "interrupted")
        _finished(session, trial.number, TrialResult(Outcome.INTERRUPTED), started)
        raise SearchInterrupted from None
    _finished(session, trial.number, result, started)


def _needs_checkpoints(trial: optuna.trial.FrozenTrial) -> bool:
    waiting = trial.state is TrialState.WAITING
    continues = TrialAttribute.CONTINUES in trial.user_attrs
    return trial.state is TrialState.RUNNING or (waiting and continues)


def _is_surplus(study: optuna.Study, number: int, trials: int) -> bool:
    """Returns whether a trial that has just started is one too many.

    Several workers may start a trial for the same last place. Trials with lower numbers take
    precedence, because all workers see the same order.
    """
    earlier = study.get_trials(deepcopy=False)[:number]
    return sum(counts(trial) for trial in earlier) >= trials


def _frozen(trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    return trial.storage.get_trial(trial._trial_id)


def _finished(session: Session, number: int, result: TrialResult, started: float) -> None:
    best = best_trial(session.study)
    session.progress.handle(
        TrialFinished(
            number=number,
            state=result.outcome.value,
            value=result.value,
            reason=result.reason,
            seconds=time.monotonic() - started,
            best_value=None if best is None else best.value,
            best_trial=None if best is None else best.number,
        )
    )


def _announce(session: Session) -> None:
    study, trials, left = session.study, session.experiment.trials, session.time.left
    counts = count_outcomes(study)
    best = best_trial(study)
    session.progress.handle(
        SearchStarted(
            study_name=study.study_name,
            trials=None if trials >= UNLIMITED_TRIALS else trials,
            complete=counts[Outcome.COMPLETE],
            pruned=counts[Outcome.PRUNED],
            infeasible=counts[Outcome.INFEASIBLE],
            failed=counts[Outcome.FAILED],
            best_value=None if best is None else best.value,
            best_trial=None if best is None else best.number,
            metric=session.experiment.metric,
            budget_seconds=None if left is None else max(0.0, left),
        )
    )


def _explain_failure(study: optuna.Study) -> str:
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    reasons = Counter(
        f"{outcome_of(trial)}: {trial.user_attrs.get(TrialAttribute.REASON, 'unknown reason')}"
        for trial in finished
        if outcome_of(trial).counts
    )
    if not reasons:
        return (
            f"A search needs time for at least one trial; {study.study_name!r} ended before any "
            f"trial started, because its budget was spent or its number of trials reached. Fix: "
            f"raise --budget or --trials."
        )
    lines = "\n".join(f"  {count} x {text}" for text, count in reasons.most_common(5))
    return (
        f"None of the {reasons.total()} finished trials of {study.study_name!r} is complete, so "
        f"there is no winner to retrain:\n{lines}\nFix: remove the cause, then start a new study "
        f"with --study-name NEW, or add trials to this one with --trials."
    )
