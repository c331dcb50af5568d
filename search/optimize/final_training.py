"""The winner's final training, done once even if several commands search the study together."""

from collections.abc import Callable
from pathlib import Path

from search.optimize.budget import Budget
from search.optimize.stored_study import opening_recorder, openings_of
from search.optimize.time_division import closing_seconds
from search.optimize.winner import search_curve
from search.results.configuration_file import BestConfiguration
from search.results.finished_run import find_finished_run, note_finished_run
from search.results.plan import Retraining, only_retraining, run_directory
from search.results.retraining import finish_run
from search.results.run_result import RunOutput
from search.sizing.time_plan import DEFAULT_BUDGET_SECONDS
from search.trials.session import Session

# The final training gets at least this part of its planned time.
_LEAST_PART = 0.25


def retrain_winner(
    configuration: BestConfiguration,
    session: Session,
    *,
    parent: Path,
    budget: Budget,
    spent_seconds: Callable[[], float],
    again: bool,
) -> RunOutput | None:
    """Retrains the winner in a folder below `parent`; returns None if another process does.

    If an equal retraining has finished, returns its result instead, except with `again`.
    The retraining takes the time that is left of the run's budget, unless it has a length of its
    own.
    """
    study, plan = session.study, session.experiment.plan
    seconds, epochs = budget.retraining_seconds, budget.retraining_epochs
    if seconds is None and epochs is None:
        seconds = plan.retraining_seconds
        if seconds is None and plan.trial_seconds is not None:
            # The study was planned without a retraining, and this run asks for one.
            seconds = DEFAULT_BUDGET_SECONDS / 2

    def left() -> float:
        assert seconds is not None
        if budget.retraining_seconds or plan.budget_seconds is None or not plan.retraining_seconds:
            return seconds
        rest = plan.budget_seconds - _closing_seconds(configuration, session) - spent_seconds()
        # Train the winner even if the search took far too long, such as on a suspended machine.
        return max(rest, _LEAST_PART * seconds)

    retraining = Retraining(
        configuration=configuration,
        split=session.split,
        epochs=epochs,
        budget_seconds=seconds,
        seconds_left=None if seconds is None else left,
        compute=session.experiment.compute,
        features=session.features,
        progress=session.progress,
        clock=session.clock,
    )
    with only_retraining(parent, retraining) as first:
        if not first:
            session.progress.note("another process is retraining the winner: this one is done")
            return None
        output = None if again else find_finished_run(parent, retraining)
        if output is not None:
            note_finished_run(output, retraining)
        else:
            output = finish_run(
                retraining,
                run_directory(parent, retraining),
                record_opening=opening_recorder(study),
                earlier_openings=openings_of(study),
                search_curve=search_curve(study.best_trial, session.spec),
            )
    return output


def _closing_seconds(configuration: BestConfiguration, session: Session) -> float:
    """Returns the seconds to reserve for the winner's evaluation and files.

    The plan reserved for the default network; the winner may need more or less.
    """
    plan, split = session.experiment.plan, session.split
    if plan.speed is None or plan.budget_seconds is None:
        return plan.closing_seconds
    candidate = configuration.candidate
    return closing_seconds(
        candidate,
        split.spec,
        plan.speed,
        images=split.test_images,
        budget_seconds=plan.budget_seconds,
        mirrored=candidate.model.mirror,
    )
