"""One trial, from suggestion to value."""

import gc
import json
import re
import time
import traceback
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from cnn_blocks.build import ModelShape, describe_model
from cnn_blocks.errors import InfeasibleError
from search.errors import OutOfMemoryError, TrialFailure
from search.progress.events import TrialStarted
from search.sizing.cost import TrainingCost, corrected, predict_cost
from search.sizing.machine_speed import MachineSpeed
from search.storage.attributes import TrialAttribute, set_trial_attribute, trial_attribute
from search.training import feasibility, fit
from search.training.metrics import RANKING_METRICS
from search.training.mirroring import flips_are_harmless
from search.trials.checkpoints import checkpoint_folder, remove_checkpoints
from search.trials.lease import Lease
from search.trials.outcomes import Outcome, outcome_of
from search.trials.reporter import StopTrial, TrialReporter, remember_candidate
from search.trials.session import Session
from spaces.candidate import Candidate

_TRACEBACK_CHARACTERS = 2000
_STEPS = re.compile(r'"steps":(?:\d+|null),')


@dataclass(frozen=True)
class TrialResult:
    """The outcome of a trial, with its value and the reason for any other end."""

    outcome: Outcome
    value: float | None = None
    reason: str | None = None


def run_trial(trial: optuna.Trial, session: Session, lease: Lease | None = None) -> TrialResult:
    """Builds, trains and tells one trial; its errors end the trial, not the search.

    The value is the metric on the validation images at the end of the schedule: the winner is
    retrained for a fixed length, and the best of many epochs would favour noise. If early stopping
    restores the best weights, it is the value of their epoch.

    Raises KeyboardInterrupt, Optuna's StorageInternalError, and its UpdateFinishedTrialError when
    another process has ended the trial meanwhile.
    """
    started = time.monotonic() - float(trial.user_attrs.get(TrialAttribute.SECONDS, 0.0))
    failure: BaseException | None = None
    try:
        value = _evaluate(trial, session, lease)
        result = TrialResult(Outcome.COMPLETE, value, trial.user_attrs.get(TrialAttribute.REASON))
    except StopTrial as stop:
        result = TrialResult(Outcome.PRUNED, _last_value(trial), str(stop))
    except (InfeasibleError, TrialFailure, MemoryError) as error:
        result = TrialResult(Outcome.INFEASIBLE, None, _reason(error))
        _constrain(trial, error)
    except (optuna.exceptions.StorageInternalError, UpdateFinishedTrialError):
        raise
    except Exception as error:
        failure = error
        result = TrialResult(Outcome.FAILED, None, f"{type(error).__name__}: {_reason(error)}")
    finally:
        # Memory first: the storage refuses writes to a trial that another process has ended.
        _release_memory()
        with session.clock.measure("storage"):
            _store(trial, TrialAttribute.SECONDS, round(time.monotonic() - started, 3))
    with session.clock.measure("storage"):
        if failure is not None:
            text = "".join(traceback.format_exception(failure))
            _store(trial, TrialAttribute.TRACEBACK, text[-_TRACEBACK_CHARACTERS:])
        _store(trial, TrialAttribute.REASON, result.reason)
        _store(trial, TrialAttribute.OUTCOME, result.outcome)
        _tell(trial, result)
        remove_checkpoints(
            trial.study, trial.number, session.experiment.checkpoints, session.shared
        )
    return result


def _evaluate(trial: optuna.Trial, session: Session, lease: Lease | None) -> float:
    experiment, plan = session.experiment, session.experiment.plan
    trial_seconds = plan.trial_seconds
    with session.clock.measure("sampling"):
        candidate = _continued(trial, session.spec.candidate(trial, plan.task))
    remember_candidate(trial, candidate, session)
    session.progress.handle(
        TrialStarted(
            number=trial.number,
            summary=candidate.summary(),
            # With a time plan the length is known only once its speed is measured.
            epochs=0 if plan.trial_seconds is not None else candidate.training.epochs,
        )
    )
    earlier = _find_equal(trial, candidate)
    if earlier is not None:
        return _repeat(trial, earlier)
    with session.clock.measure("compiling"):
        shape = describe_model(candidate.model, session.split.spec)
    on_features = session.features.suits(candidate)
    _check_memory(trial, shape, candidate, on_features=on_features, session=session)
    feasibility.require_parameters(shape.parameters, session.spec.most_parameters)
    cost = _predict(shape, candidate, session.speed, session, on_features=on_features)
    if cost is not None:
        speed = cost.step_images / cost.step_seconds
        trial.set_user_attr(TrialAttribute.PREDICTED_IMAGES_PER_SECOND, round(speed, 1))
        # The final training has the whole machine; this process may be one of many workers.
        whole = _predict(shape, candidate, plan.speed, session, on_features=on_features) or cost
        plan.require_affordable(corrected(whole, session.slowdowns), candidate)
    result = fit(
        candidate,
        session.split.train,
        spec=session.split.spec,
        validation=session.split.validation,
        seed=experiment.seed,
        reports_per_epoch=session.spec.reports_per_epoch,
        intervals=plan.intervals,
        seconds=None if trial_seconds is None else lambda: trial_seconds,
        most_steps=plan.most_trial_steps(candidate, on_features=on_features),
        mirrored=plan.trial_seconds is not None and flips_are_harmless(trial.study) is None,
        ranking=experiment.metric in RANKING_METRICS,
        checkpoint_directory=checkpoint_folder(trial, experiment.checkpoints, session.shared),
        compute=experiment.compute,
        clock=session.clock,
        features=session.features,
        listener=TrialReporter(trial, candidate, session, lease),
    )
    with session.clock.measure("storage"):
        trial.set_user_attr(TrialAttribute.BEST_EPOCH, result.best["epoch"])
        trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, result.epochs_trained)
        trial.set_user_attr(TrialAttribute.STEPS, result.history[-1]["step"])
        if "accuracy" in result.best:
            accuracy = round(float(result.best["accuracy"]), 4)
            trial.set_user_attr(TrialAttribute.TRAINING_ACCURACY, accuracy)
        trial.set_user_attr(TrialAttribute.IMAGES_PER_SECOND, round(result.images_per_second, 1))
        if result.mirrored is not None:
            trial.set_user_attr(TrialAttribute.MIRRORED, asdict(result.mirrored))
    if cost is not None and result.images_per_second > 0:
        session.slowdowns.append(speed / result.images_per_second)
    return float(result.best[f"val_{experiment.metric}"])


def _continued(trial: optuna.Trial, candidate: Candidate) -> Candidate:
    """Returns the candidate with the length that an interrupted attempt had chosen, if any."""
    attempt = trial.storage.get_trial(trial._trial_id)
    stored = trial_attribute(attempt, TrialAttribute.CANDIDATE)
    if stored is None or TrialAttribute.CONTINUES not in attempt.user_attrs:
        return candidate
    training = json.loads(stored)["training"]
    if training.get("steps") is None:
        return candidate
    length = {name: training[name] for name in ("steps", "fine_tuning")}
    return candidate.with_training(**length)


def _predict(
    shape: ModelShape,
    candidate: Candidate,
    speed: MachineSpeed | None,
    session: Session,
    *,
    on_features: bool,
) -> TrainingCost | None:
    if speed is None:
        return None
    training = candidate.phases()[-1].candidate.training
    images = len(session.split.train)
    return predict_cost(shape, training, speed, images=images, on_features=on_features)


def _without_steps(text: str) -> str:
    return _STEPS.sub("", text, count=1)


def _find_equal(trial: optuna.Trial, candidate: Candidate) -> optuna.trial.FrozenTrial | None:
    """Returns a complete trial of the same candidate: with equal seeds it would only be repeated.

    Candidates that differ only in their number of steps are the same one.
    Raises OutOfMemoryError if a worker died of the same candidate for lack of memory.
    """
    wanted = _without_steps(candidate.to_json())
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    for other in trial.study.get_trials(deepcopy=False, states=states):
        if _without_steps(trial_attribute(other, TrialAttribute.CANDIDATE, "")) != wanted:
            continue
        if outcome_of(other) is Outcome.COMPLETE:
            return other
        # Of the trials whose process died, only one that ran out of memory is infeasible.
        died = {TrialAttribute.EXIT_CODE, TrialAttribute.SIGNAL} & set(other.user_attrs)
        if died and outcome_of(other) is Outcome.INFEASIBLE:
            raise OutOfMemoryError(
                f"same candidate as trial {other.number}, which ran out of memory"
            )
    return None


def _repeat(trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> float:
    for name in (
        TrialAttribute.PARAMETERS,
        TrialAttribute.BEST_EPOCH,
        TrialAttribute.TRAINING_ACCURACY,
        TrialAttribute.IMAGES_PER_SECOND,
        TrialAttribute.STEPS,
    ):
        _store(trial, name, earlier.user_attrs.get(name))
    trial.set_user_attr(TrialAttribute.EPOCHS_TRAINED, 0)
    trial.set_user_attr(TrialAttribute.REASON, f"same candidate as trial {earlier.number}")
    assert earlier.value is not None
    return earlier.value


def _check_memory(
    trial: optuna.Trial,
    shape: ModelShape,
    candidate: Candidate,
    *,
    on_features: bool,
    session: Session,
) -> None:
    needed = feasibility.estimate_memory(
        shape,
        candidate.training,
        on_features=on_features,
        images=max(len(session.split.train), len(session.split.validation)),
    )
    trial.set_user_attr(TrialAttribute.PARAMETERS, shape.parameters)
    trial.set_user_attr(TrialAttribute.MEMORY_MIB, round(needed / feasibility.MEBIBYTE))
    feasibility.require_memory(needed, share=session.memory_bytes)


def _constrain(trial: optuna.Trial, error: Exception) -> None:
    name = getattr(error, "constraint", None) or type(error).__name__
    trial.set_constraint(name, 1.0)
    # The dashboard does not show constraints.
    trial.set_user_attr(TrialAttribute.CONSTRAINTS, {name: 1.0})


def _tell(trial: optuna.Trial, result: TrialResult) -> None:
    try:
        if result.outcome is Outcome.COMPLETE:
            trial.study.tell(trial, result.value)
        elif result.outcome is Outcome.FAILED:
            trial.study.tell(trial, state=TrialState.FAIL)
        else:
            trial.study.tell(trial, state=TrialState.PRUNED)
    except ValueError as error:
        # Optuna's own check of the state, before the storage's.
        if not trial.storage.get_trial(trial._trial_id).state.is_finished():
            raise
        raise UpdateFinishedTrialError(str(error)) from error


def _last_value(trial: optuna.Trial) -> float | None:
    values = trial.storage.get_trial(trial._trial_id).intermediate_values
    return values[max(values)] if values else None


def _store(trial: optuna.Trial, name: TrialAttribute, value: Any) -> None:
    if value is not None:
        set_trial_attribute(trial.storage, trial._trial_id, name, value)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _release_memory() -> None:
    import keras

    keras.utils.clear_session(free_memory=True)
    gc.collect()
