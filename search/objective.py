"""One trial, from suggestion to value."""

import gc
import os
import shutil
import socket
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil
from optuna.trial import TrialState

from cnn_blocks.build import ModelShape, describe_model
from cnn_blocks.errors import InfeasibleError
from search import feasibility
from search.clock import Clock
from search.errors import TrialFailure
from search.interruption import Interruption
from search.progress import Progress
from search.runtime import Precision, Xla
from search.storage import TrialAttribute
from search.training import FitResult, Report, fit
from spaces.candidate import Candidate
from studies.study import StudySpec

if TYPE_CHECKING:
    from search.data import Split
    from search.features import FeatureSource

_TRACEBACK_CHARACTERS = 2000
# After so long, start-up no longer distorts how fast a training seems to be.
_PACE_SECONDS = 10.0


class Outcome(StrEnum):
    """How a trial ended. An interrupted one is continued by a later trial and counts once."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial."""

    outcome: Outcome
    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """Everything that the trials of one study share.

    `stop_reason` is asked at every report: a text ends the running trial as pruned, with it.
    `most_trial_seconds` is asked while a trial trains: one that would take longer is infeasible.
    """

    spec: StudySpec
    split: "Split"
    metric: str
    seed: int
    checkpoints: Path
    precision: Precision = "auto"
    xla: Xla = "auto"
    clock: Clock = field(default_factory=Clock)
    progress: Progress = field(default_factory=Progress)
    interruption: Interruption = field(default_factory=Interruption)
    stop_reason: Callable[[], str | None] = lambda: None
    most_trial_seconds: Callable[[], float | None] = lambda: None
    features: "FeatureSource | None" = None


class _StopTrialError(Exception):
    """Ends a trial as pruned, with a reason."""


def run_trial(trial: optuna.Trial, context: TrialContext) -> TrialResult:
    """Builds, trains and tells one trial; whatever goes wrong with it stays its own.

    The value is the metric on the validation images at the end of the schedule, because the winner
    is retrained for a fixed number of epochs: the best of many epochs would favour noise. Where
    early stopping restores the best weights, it is their epoch's value.
    Only `SearchInterrupted`, `KeyboardInterrupt` and errors of the storage get out.
    """
    started = time.monotonic() - float(trial.user_attrs.get(TrialAttribute.SECONDS, 0.0))
    failure: BaseException | None = None
    try:
        value = _evaluate(trial, context)
        result = TrialResult(Outcome.COMPLETE, value, trial.user_attrs.get(TrialAttribute.REASON))
    except _StopTrialError as stop:
        result = TrialResult(Outcome.PRUNED, _last_value(trial), str(stop))
    except (InfeasibleError, TrialFailure, MemoryError) as error:
        result = TrialResult(Outcome.INFEASIBLE, None, _reason(error))
        _constrain(trial, error)
    except optuna.exceptions.StorageInternalError:
        raise
    except Exception as error:
        failure = error
        result = TrialResult(Outcome.FAILED, None, f"{type(error).__name__}: {_reason(error)}")
    finally:
        with context.clock.measure("storage"):
            _store(trial, TrialAttribute.SECONDS, round(time.monotonic() - started, 3))
        _release_memory()
    with context.clock.measure("storage"):
        if failure is not None:
            text = "".join(traceback.format_exception(failure))
            _store(trial, TrialAttribute.TRACEBACK, text[-_TRACEBACK_CHARACTERS:])
        _store(trial, TrialAttribute.REASON, result.reason)
        _store(trial, TrialAttribute.OUTCOME, result.outcome)
        _tell(trial, result)
    remove_checkpoints(trial.user_attrs, context.checkpoints)
    return result


def remove_checkpoints(attributes: dict[str, Any], checkpoints: Path) -> None:
    """Removes the checkpoint folder of a finished trial."""
    name = attributes.get(TrialAttribute.CHECKPOINTS)
    if name:
        shutil.rmtree(checkpoints / name, ignore_errors=True)


def identify_process(trial: optuna.Trial) -> None:
    """Stores which process runs the trial, so that a later start can tell whether it is alive."""
    process = psutil.Process()
    trial.set_user_attr(TrialAttribute.HOST, socket.gethostname())
    trial.set_user_attr(TrialAttribute.PROCESS, os.getpid())
    trial.set_user_attr(TrialAttribute.PROCESS_STARTED, process.create_time())


def _evaluate(trial: optuna.Trial, context: TrialContext) -> float:
    with context.clock.measure("sampling"):
        candidate = context.spec.candidate(trial)
    text = candidate.to_json()
    folder = _checkpoint_folder(trial, text)
    with context.clock.measure("storage"):
        trial.set_user_attr(TrialAttribute.CANDIDATE, text)
        trial.set_user_attr(TrialAttribute.SUMMARY, candidate.summary())
        trial.set_user_attr(TrialAttribute.CHECKPOINTS, folder)
    context.progress.trial_started(
        number=trial.number, summary=candidate.summary(), epochs=candidate.training.epochs
    )
    earlier = _find_equal(trial, text)
    if earlier is not None:
        return _repeat(trial, earlier)
    with context.clock.measure("compiling"):
        shape = describe_model(candidate.model, context.split.spec)
    on_features = context.features is not None and context.features.suits(candidate)
    _check_memory(trial, shape, candidate, on_features)
    feasibility.require_parameters(shape.parameters, context.spec.most_parameters)
    reporter = _Reporter(trial, candidate, context)
    result = fit(
        candidate,
        context.split.train,
        spec=context.split.spec,
        validation=context.split.validation,
        seed=context.seed,
        on_report=reporter.report,
        reports_per_epoch=context.spec.reports_per_epoch,
        checkpoint_directory=context.checkpoints / folder,
        precision=context.precision,
        xla=context.xla,
        clock=context.clock,
        features=context.features,
        on_progress=reporter.progress,
    )
    with context.clock.measure("storage"):
        trial.set_user_attr(TrialAttribute.BEST_EPOCH, result.best_epoch)
        trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, result.epochs_trained)
        trial.set_user_attr(TrialAttribute.IMAGES_PER_SECOND, round(result.images_per_second, 1))
    return _final_value(result, candidate, context.metric)


def _final_value(result: FitResult, candidate: Candidate, metric: str) -> float:
    row = result.history[-1]
    if candidate.training.early_stopping is not None:
        row = next(row for row in result.history if row["epoch"] == result.best_epoch)
    return float(row[f"val_{metric}"])


class _Reporter:
    """Passes what happens inside `fit` on to the study and the screen."""

    def __init__(self, trial: optuna.Trial, candidate: Candidate, context: TrialContext) -> None:
        self._trial = trial
        self._context = context
        self._last_step = candidate.training.epochs * context.spec.reports_per_epoch
        self._head_steps = candidate.training.head_epochs * context.spec.reports_per_epoch
        self._paced_from: tuple[float, float] | None = None
        self._pace_is_known = False
        self._reported = set(trial.storage.get_trial(trial._trial_id).intermediate_values)

    def progress(self, epoch: float, epochs: int, metrics: dict[str, float]) -> None:
        self._context.interruption.check()
        self._check_pace(epoch, epochs)
        self._context.progress.trial_progress(
            number=self._trial.number, epoch=epoch, epochs=epochs, metrics=metrics
        )

    def _check_pace(self, epoch: float, epochs: int) -> None:
        now = time.monotonic()
        if self._pace_is_known:
            return
        if self._paced_from is None:
            self._paced_from = now, epoch
            return
        elapsed, trained = now - self._paced_from[0], epoch - self._paced_from[1]
        if elapsed < _PACE_SECONDS or trained <= 0:
            return
        self._pace_is_known = True
        most, needed = self._context.most_trial_seconds(), elapsed / trained * epochs
        if most is not None and needed > most:
            raise InfeasibleError(
                f"A trial may take a fifth of the search's budget, {most:.0f} s; this one would "
                f"need about {needed:.0f} s.",
                constraint="seconds",
            )

    def report(self, report: Report) -> None:
        step = report.step
        if step in self._reported:
            # A continued training repeats its reports; they were judged when they were new.
            return
        self._reported.add(step)
        value = float(report.metrics[f"val_{self._context.metric}"])
        # While the head trains alone a value says little about the whole: pruners never see it, so
        # that none compares it with another trial's fine-tuning.
        comparable = step > self._head_steps
        with self._context.clock.measure("storage"):
            if comparable:
                self._trial.report(value, step)
            self._trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, round(report.epoch, 3))
        self._context.interruption.check()
        if step >= self._last_step:
            return  # All epochs are paid for: the value is worth more than pruning.
        with self._context.clock.measure("storage"):
            if comparable and self._trial.should_prune():
                raise _StopTrialError(self._pruning_reason(report.epoch, step, value))
        reason = self._context.stop_reason()
        if reason is not None:
            raise _StopTrialError(f"{reason}, at epoch {report.epoch:g}")

    def _pruning_reason(self, epoch: float, step: int, value: float) -> str:
        study, metric = self._trial.study, self._context.metric
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values
            and other.number != self._trial.number
            and other.state is not TrialState.FAIL
        ]
        text = f"{type(study.pruner).__name__} at epoch {epoch:g}: {metric} {value:.4f}"
        if not others:
            return text
        if len(others) == 1:
            return f"{text}, where the other trial had {others[0]:.4f}"
        return (
            f"{text}, where {len(others)} other trials had {min(others):.4f} to "
            f"{max(others):.4f}, median {statistics.median(others):.4f}"
        )


def _checkpoint_folder(trial: optuna.Trial, candidate: str) -> str:
    attributes = trial.user_attrs
    if attributes.get(TrialAttribute.CANDIDATE) == candidate:
        earlier = attributes.get(TrialAttribute.CHECKPOINTS)
        if earlier:
            return str(earlier)
    return f"trial_{trial.number}"


def _find_equal(trial: optuna.Trial, candidate: str) -> optuna.trial.FrozenTrial | None:
    """Returns a finished trial of the same candidate, which would only repeat: seeds are equal."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    for other in trial.study.get_trials(deepcopy=False, states=states):
        known = other.user_attrs.get(TrialAttribute.CANDIDATE) == candidate
        if known and other.user_attrs.get(TrialAttribute.OUTCOME) == Outcome.COMPLETE:
            return other
    return None


def _repeat(trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> float:
    for name in (
        TrialAttribute.PARAMETERS,
        TrialAttribute.BEST_EPOCH,
        TrialAttribute.IMAGES_PER_SECOND,
    ):
        _store(trial, name, earlier.user_attrs.get(name))
    trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, 0)
    trial.set_user_attr(TrialAttribute.REASON, f"same candidate as trial {earlier.number}")
    assert earlier.value is not None
    return earlier.value


def _check_memory(
    trial: optuna.Trial, shape: ModelShape, candidate: Candidate, on_features: bool
) -> None:
    needed = feasibility.estimate_memory(shape, candidate.training, on_features=on_features)
    trial.set_user_attr(TrialAttribute.PARAMETERS, shape.parameters)
    trial.set_user_attr(TrialAttribute.MEMORY_MIB, round(needed / feasibility.MEBIBYTE))
    feasibility.require_memory(needed)


def _constrain(trial: optuna.Trial, error: Exception) -> None:
    name = getattr(error, "constraint", None) or type(error).__name__
    trial.set_constraint(name, 1.0)
    # The dashboard does not show constraints.
    trial.set_user_attr(TrialAttribute.CONSTRAINTS, {name: 1.0})


def _tell(trial: optuna.Trial, result: TrialResult) -> None:
    if result.outcome is Outcome.COMPLETE:
        trial.study.tell(trial, result.value)
    elif result.outcome is Outcome.FAILED:
        trial.study.tell(trial, state=TrialState.FAIL)
    else:
        trial.study.tell(trial, state=TrialState.PRUNED)


def _last_value(trial: optuna.Trial) -> float | None:
    values = trial.storage.get_trial(trial._trial_id).intermediate_values
    return values[max(values)] if values else None


def _store(trial: optuna.Trial, name: TrialAttribute, value: Any) -> None:
    if value is not None:
        trial.set_user_attr(name, value)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _release_memory() -> None:
    import keras

    keras.utils.clear_session(free_memory=True)
    gc.collect()
