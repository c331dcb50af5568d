"""One trial: what it stores, and the outcome of each kind of end.

A curve replaces the training itself, except where a test says otherwise.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.data import Split
from search.errors import NonFiniteLossError
from search.optimize.sampling import ReseedingSampler
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import TimePlan
from search.storage import open_storage, quiet_optuna
from search.storage.attributes import TrialAttribute, set_trial_attribute, trial_attribute
from search.training import FitResult, ValidationReport, feasibility
from search.training.mirroring import MirroredAccuracy
from search.trials import objective
from search.trials import reporter as trial_reporter
from search.trials.attempts import continue_later
from search.trials.objective import TrialResult, run_trial
from search.trials.outcomes import Outcome
from search.trials.reporter import TrialReporter
from search.trials.search_time import SearchTime
from search.trials.session import Session
from spaces.candidate import Candidate, FineTuning, TrainingConfig
from spaces.stages import staged
from spaces.suggest import Trial
from spaces.task import Task
from studies.study import StudySpec
from tests.support.attributes import candidate_of
from tests.support.sessions import changed, make_session

Curve = Callable[[Candidate], list[float]]


@pytest.fixture
def session(study: optuna.Study, tiny_study: StudySpec, digits: Split, tmp_path: Path) -> Session:
    return make_session(study, spec=tiny_study, split=digits, checkpoints=tmp_path / "c")


@pytest.fixture
def study(tiny_study: StudySpec, tmp_path: Path) -> Iterator[optuna.Study]:
    with quiet_optuna():
        yield optuna.create_study(
            storage=open_storage(f"sqlite:///{tmp_path / 'studies.db'}"),
            study_name="tiny",
            sampler=ReseedingSampler(tiny_study.sampler(0), seed=0),
            pruner=tiny_study.make_pruner(),
            direction="maximize",
        )


@pytest.fixture
def train_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Replaces training by a curve of validation accuracies; returns the calls made.

    If given, `steps` is the chosen length and `mirrored` the accuracy on mirrored images.
    """

    def install(
        curve: Curve, *, steps: int | None = None, mirrored: MirroredAccuracy | None = None
    ) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def fit(candidate: Candidate, train: object, **settings: Any) -> FitResult:
            calls.append(settings | {"candidate": candidate})
            if steps is not None:
                settings["listener"].on_length(candidate.with_length(steps=steps))
            settings["checkpoint_directory"].mkdir(parents=True, exist_ok=True)
            rows = []
            for epoch, value in enumerate(curve(candidate), start=1):
                measured = {"val_accuracy": value, "val_loss": 1 - value}
                rows.append({"epoch": epoch, "step": epoch * 10, **measured})
                per_epoch = settings["reports_per_epoch"]
                settings["listener"].on_checkpoint(epoch * 10)
                settings["listener"].on_report(
                    ValidationReport(epoch * per_epoch, float(epoch), rows[-1])
                )
            stops_early = candidate.training.early_stopping is not None
            best = max(rows, key=lambda row: row["val_accuracy"]) if stops_early else rows[-1]
            return FitResult(
                candidate=candidate,
                spec=settings["spec"],
                weights=[],
                history=rows,
                best_row=rows.index(best),
                seconds=1.0,
                images_per_second=100.0,
                parameters=1,
                mirrored=mirrored if settings["mirrored"] else None,
            )

        monkeypatch.setattr(objective, "fit", fit)
        return calls

    return install


def run(study: optuna.Study, session: Session) -> TrialResult:
    return run_trial(study.ask(), session)


def test_a_complete_trial_stores_its_attributes(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    train_as(lambda candidate: [0.9, 0.8])

    result = run(study, session)

    trial = study.trials[0]
    assert result == TrialResult(Outcome.COMPLETE, 0.8)
    assert trial.state is TrialState.COMPLETE and trial.value == 0.8
    assert trial.intermediate_values == {2: 0.9, 4: 0.8}
    assert trial.user_attrs["epochs_trained"] == 2
    assert trial.user_attrs["steps"] == 20
    assert trial.user_attrs["checkpoint_step"] == 20
    assert trial.user_attrs["images_per_second"] == 100.0
    assert trial.user_attrs["parameters"] > 0
    assert trial.user_attrs["seconds"] >= 0
    assert trial.user_attrs["outcome"] == "complete"
    assert Candidate.from_json(candidate_of(trial)).training.epochs == 2
    assert not list(session.experiment.checkpoints.glob("*"))


def test_the_candidate_is_stored_before_training_starts(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    stored = []

    def look(candidate: Candidate) -> list[float]:
        stored.append(candidate_of(study.trials[0]))
        return [0.5, 0.6]

    train_as(look)
    run(study, session)

    assert json.loads(stored[0])["training"]["epochs"] == 2


def test_with_early_stopping_the_value_is_that_of_the_restored_epoch(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    space = session.spec.space
    patient = session.spec.model_copy(
        update={"space": lambda trial: space(trial).with_training(early_stopping=3)}
    )
    train_as(lambda candidate: [0.9, 0.8])

    result = run(study, changed(session, spec=patient))

    assert result.value == 0.9
    assert study.trials[0].user_attrs["best_epoch"] == 1


def test_a_pruned_trial_stores_the_reason(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    values = iter([[0.8, 0.9], [0.7, 0.95], [0.3, 0.9]])
    train_as(lambda candidate: next(values))

    results = [run(study, session) for _ in range(3)]

    assert results[1].outcome is Outcome.PRUNED
    assert results[1].reason == (
        "MedianPruner at epoch 1: accuracy 0.7000, where the other trial had 0.8000"
    )
    assert results[2].reason == (
        "MedianPruner at epoch 1: accuracy 0.3000, where 2 other trials had 0.7000 to 0.8000, "
        "median 0.7500"
    )
    assert study.trials[2].user_attrs["reason"] == results[2].reason
    assert study.trials[2].user_attrs["epochs_trained"] == 1.0


def test_the_last_epoch_is_never_pruned(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    values = iter([[0.5, 0.9], [0.6, 0.1]])
    train_as(lambda candidate: next(values))

    outcomes = [run(study, session).outcome for _ in range(2)]

    assert outcomes == [Outcome.COMPLETE, Outcome.COMPLETE]


def test_pruners_do_not_see_the_phase_in_which_only_the_head_trains(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    def two_phases(trial: Trial) -> Candidate:
        backbone = KerasApplication(family="MobileNetV3Small", weights="none", trainable="all")
        share = trial.suggest_categorical("head_share", [0.25, 0.5])
        return Candidate(
            model=ModelConfig(
                preprocessing="none",
                input_size=32,
                backbone=backbone,
                head=Pooled(dropout=trial.suggest_float("dropout", 0.0, 0.5)),
            ),
            training=TrainingConfig(batch_size=8, fine_tuning=FineTuning(head_share=share)),
        )

    values = iter([[0.8, 0.8, 0.8, 0.9], [0.1, 0.1, 0.85, 0.95], [0.9, 0.1, 0.9, 0.9]])
    train_as(lambda candidate: next(values))
    for subset, dropout in ((0.5, 0.0), (0.5, 0.1), (0.25, 0.0)):
        study.enqueue_trial({"head_share": subset, "dropout": dropout})
    spec = session.spec.model_copy(update={"space": two_phases, "epochs": 4})
    session = changed(session, spec=spec)

    results = [run(study, session) for _ in range(3)]

    # The second trial's 0.1 would be pruned, but only its head trains then. The third trial's dip
    # is real, but the others have no value at that epoch to compare it with.
    assert [result.outcome for result in results] == [Outcome.COMPLETE] * 3
    assert [list(trial.intermediate_values) for trial in study.trials] == [
        [6, 8],
        [6, 8],
        [4, 6, 8],
    ]


def test_a_spent_budget_prunes_the_running_trial(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    train_as(lambda candidate: [0.5, 0.9])
    study.add_trial(optuna.trial.create_trial(value=0.1))

    result = run(study, changed(session, time=SearchTime(10.0, 11.0)))

    reason = "the search's budget of 10 s is over, at epoch 1"
    assert result == TrialResult(Outcome.PRUNED, 0.5, reason)


def test_a_graph_that_cannot_be_built_is_infeasible(study: optuna.Study, session: Session) -> None:
    def too_deep(trial: Any) -> Candidate:
        candidate = session.spec.space(trial)
        backbone = staged(
            Plain(), filters=[2] * 7, depth=1, reduction="max", place="last", dropout=[0.0] * 7
        )
        return candidate.model_copy(
            update={"model": candidate.model.model_copy(update={"backbone": backbone})}
        )

    spec = session.spec.model_copy(update={"space": too_deep})

    result = run(study, changed(session, spec=spec))

    trial = study.trials[0]
    assert result.outcome is Outcome.INFEASIBLE
    assert "at least one pixel" in str(result.reason)
    assert trial.state is TrialState.PRUNED
    assert trial.constraints == trial.user_attrs["constraints"] == {"buildable": 1.0}


def test_a_candidate_that_exceeds_the_memory_is_infeasible_and_not_built(
    study: optuna.Study,
    session: Session,
    train_as: Callable[[Curve], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = train_as(lambda candidate: [0.5, 0.6])
    monkeypatch.setattr(feasibility, "free_memory", lambda: 10 * feasibility.MEBIBYTE)

    result = run(study, session)

    assert result.outcome is Outcome.INFEASIBLE
    assert "must fit into the free memory" in str(result.reason)
    assert study.trials[0].constraints == {"memory": 1.0}
    assert calls == []


def test_a_candidate_with_too_many_parameters_is_infeasible_and_not_built(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    calls = train_as(lambda candidate: [0.5, 0.6])
    spec = session.spec.model_copy(update={"most_parameters": 20})

    result = run(study, changed(session, spec=spec))

    assert result.outcome is Outcome.INFEASIBLE
    assert "at most 20 parameters" in str(result.reason)
    assert study.trials[0].constraints == {"parameters": 1.0}
    assert study.trials[0].user_attrs["parameters"] > 20
    assert calls == []


def test_a_loss_that_is_not_finite_is_infeasible(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    def diverge(candidate: Candidate) -> list[float]:
        raise NonFiniteLossError("the loss became nan at batch 3 of an epoch")

    train_as(diverge)

    result = run(study, session)

    assert result.outcome is Outcome.INFEASIBLE
    assert study.trials[0].user_attrs["reason"] == "the loss became nan at batch 3 of an epoch"
    assert study.trials[0].constraints == {"NonFiniteLossError": 1.0}


def test_an_unexpected_error_fails_the_trial_with_its_traceback(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    def break_down(candidate: Candidate) -> list[float]:
        raise RuntimeError("the space has a bug\nand more")

    train_as(break_down)

    result = run(study, session)

    trial = study.trials[0]
    assert result == TrialResult(Outcome.FAILED, None, "RuntimeError: the space has a bug")
    assert trial.state is TrialState.FAIL
    assert "break_down" in trial_attribute(trial, TrialAttribute.TRACEBACK)


def test_an_equal_candidate_is_not_trained_again(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    calls = train_as(lambda candidate: [0.5, 0.6])
    for _ in range(2):
        study.enqueue_trial({"filters": 4, "dropout": 0.25})

    results = [run(study, session) for _ in range(2)]

    assert len(calls) == 1
    assert results[1] == TrialResult(Outcome.COMPLETE, 0.6, "same candidate as trial 0")
    assert study.trials[1].value == 0.6


@pytest.fixture
def timed(session: Session, timed_study: StudySpec, speed: MachineSpeed) -> Session:
    """Trials of ten seconds, for a retraining of a hundred."""
    plan = TimePlan(
        trial_seconds=10.0,
        intervals=4,
        retraining_seconds=100.0,
        fewest_passes=0.5,
        task=Task(images=len(session.split.train)),
    )
    return changed(session, spec=timed_study, plan=plan, speed=speed)


def test_a_trial_gets_the_plans_seconds(
    study: optuna.Study, timed: Session, train_as: Callable[[Curve], Any]
) -> None:
    calls = train_as(lambda candidate: [0.5, 0.6])

    run(study, timed)

    assert calls[0]["seconds"]() == 10.0
    assert (calls[0]["intervals"], calls[0]["mirrored"]) == (4, True)
    assert calls[0]["most_steps"] == 60 * 1259 // 256
    assert calls[0]["candidate"].training.steps is None
    assert study.trials[0].user_attrs["predicted_images_per_second"] > 0


def test_fixed_epochs_are_neither_timed_nor_mirrored(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    calls = train_as(lambda candidate: [0.5, 0.6])

    run(study, session)

    assert (calls[0]["seconds"], calls[0]["mirrored"]) == (None, False)
    assert "predicted_images_per_second" not in study.trials[0].user_attrs


def test_candidates_that_differ_only_in_steps_are_equal(
    study: optuna.Study, timed: Session, train_as: Callable[..., Any]
) -> None:
    calls = train_as(lambda candidate: [0.5, 0.6], steps=123)
    for _ in range(2):
        study.enqueue_trial({"filters": 4, "dropout": 0.25})

    results = [run(study, timed) for _ in range(2)]

    assert len(calls) == 1
    assert results[1] == TrialResult(Outcome.COMPLETE, 0.6, "same candidate as trial 0")
    stored = Candidate.from_json(candidate_of(study.trials[0]))
    assert stored.training.steps == 123
    assert study.trials[1].user_attrs["steps"] == study.trials[0].user_attrs["steps"]


def test_a_continued_trial_keeps_the_steps_of_the_first_attempt(
    study: optuna.Study, timed: Session, train_as: Callable[[Curve], Any]
) -> None:
    def die(candidate: Candidate) -> list[float]:
        trial = study.trials[-1]
        told = candidate.with_length(steps=77)
        set_trial_attribute(
            study._storage, trial._trial_id, TrialAttribute.CANDIDATE, told.to_json()
        )
        raise KeyboardInterrupt

    train_as(die)
    with pytest.raises(KeyboardInterrupt):
        run(study, timed)
    continue_later(study, study.trials[0], Outcome.INTERRUPTED, "interrupted")
    calls = train_as(lambda candidate: [0.5, 0.6])

    run(study, timed)

    assert calls[0]["candidate"].training.steps == 77
    assert study.trials[1].params == study.trials[0].params


def test_a_candidate_that_is_too_slow_is_not_trained_and_says_by_how_much(
    study: optuna.Study, timed: Session, train_as: Callable[[Curve], Any]
) -> None:
    calls = train_as(lambda candidate: [0.5, 0.6])
    plan = timed.experiment.plan.model_copy(update={"fewest_passes": 1e6})

    result = run(study, changed(timed, plan=plan))

    trial = study.trials[0]
    assert calls == []
    assert result.outcome is Outcome.INFEASIBLE
    figure = trial.user_attrs["predicted_images_per_second"]
    assert f"at {figure:,.0f} images/s" in trial.user_attrs["reason"]
    assert trial.state is TrialState.PRUNED
    assert trial.constraints == trial.user_attrs["constraints"] == {"seconds": 1.0}


def test_a_worker_predicts_the_final_training_with_the_whole_machines_speed(
    study: optuna.Study, timed: Session, speed: MachineSpeed, train_as: Callable[[Curve], Any]
) -> None:
    train_as(lambda candidate: [0.5, 0.6])
    one_of_many = speed.model_copy(update={"overhead": 16.0, "arithmetic": 16.0, "memory": 16.0})
    predicted = 16 * _predicted(study, changed(timed, speed=one_of_many, slowdowns=[]))
    # A quarter of the passes that the whole machine makes in the final training.
    passes = 0.25 * 100.0 * predicted / len(timed.split.train)
    plan = timed.experiment.plan.model_copy(update={"fewest_passes": passes, "speed": speed})

    result = run(study, changed(timed, speed=one_of_many, plan=plan))

    assert result.outcome is Outcome.COMPLETE


def _predicted(study: optuna.Study, session: Session) -> float:
    trial = study.ask()
    run_trial(trial, session)
    return float(study.trials[trial.number].user_attrs["predicted_images_per_second"])


def test_measured_trials_correct_the_prediction(
    study: optuna.Study, timed: Session, train_as: Callable[[Curve], Any]
) -> None:
    train_as(lambda candidate: [0.5, 0.6])  # at 100 images/s, far below the prediction

    first = run(study, timed)

    predicted = study.trials[0].user_attrs["predicted_images_per_second"]
    assert first.outcome is Outcome.COMPLETE
    assert timed.slowdowns[0] == pytest.approx(predicted / 100, rel=1e-3)

    def run_where_it_needs(part: float) -> TrialResult:
        """Requires `part` of the predicted passes; a correction halves these at most."""
        assert timed.experiment.plan.retraining_seconds is not None
        passes = (
            part * timed.experiment.plan.retraining_seconds * predicted / len(timed.split.train)
        )
        plan = timed.experiment.plan.model_copy(update={"fewest_passes": passes})
        return run(study, changed(timed, plan=plan))

    assert run_where_it_needs(0.4).outcome is Outcome.COMPLETE
    assert run_where_it_needs(0.6).outcome is Outcome.INFEASIBLE


def test_the_mirrored_accuracy_is_stored_and_measured_only_once(
    study: optuna.Study, timed: Session, train_as: Callable[..., Any]
) -> None:
    found = MirroredAccuracy(0.9, 0.4, worst_class=3, worst_loss=0.8, harmless=False)
    calls = train_as(lambda candidate: [0.5, 0.6], mirrored=found)

    for _ in range(2):
        run(study, timed)

    assert [call["mirrored"] for call in calls] == [True, False]
    assert study.trials[0].user_attrs["mirrored_images"] == asdict(found)
    assert "mirrored_images" not in study.trials[1].user_attrs


def test_a_trial_of_the_plans_length_is_never_too_long(
    study: optuna.Study, timed: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With many images the plan may give a trial more than a fifth of the search.
    monkeypatch.setattr(trial_reporter, "_PACE_SECONDS", 0.0)
    monkeypatch.setattr(SearchTime, "most_trial_seconds", lambda *_: 0.0)
    trial = study.ask()
    reporter = TrialReporter(trial, timed.spec.candidate(trial, timed.experiment.plan.task), timed)

    for epoch in (0.0, 1.0, 1.5):
        reporter.on_progress(epoch, 2.0, {})


def test_a_memory_error_is_infeasible(
    study: optuna.Study, session: Session, train_as: Callable[[Curve], Any]
) -> None:
    def overflow(candidate: Candidate) -> list[float]:
        raise MemoryError

    train_as(overflow)

    assert run(study, session) == TrialResult(Outcome.INFEASIBLE, None, "MemoryError")
