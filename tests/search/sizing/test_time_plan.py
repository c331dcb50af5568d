"""How a run divides its time budget."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cnn_blocks.backbones.staged import Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.heads.pooled import Pooled
from search.optimize.time_division import closing_seconds, make_plan
from search.sizing.cost import TrainingCost, predict_cost
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import (
    TimePlan,
    default_candidate,
    make_pruner,
    most_retraining_steps,
    steps_of,
)
from spaces.candidate import Candidate, TrainingConfig
from spaces.probe import ProbeTrial
from spaces.stages import staged
from spaces.task import Task
from studies.study import StudySpec, load_study
from tests.search.conftest import tiny_space

INPUTS = InputSpec(image_shape=(32, 32, 3), class_names=("cat", "dog"))
STUDY = StudySpec(name="timed", description="Networks of one stage.", space=tiny_space)
DAY = 86_400.0

Plan = Callable[..., TimePlan]


@pytest.fixture(scope="session")
def plan(speed: MachineSpeed) -> Plan:
    """Makes a plan for the study of this file."""

    def make(spec: StudySpec = STUDY, **options: Any) -> TimePlan:
        images = options.pop("images", 5000)
        return make_plan(
            spec,
            INPUTS,
            **{
                "images": images,
                "validation_images": max(1, images // 5),
                "speed": speed,
                "budget_seconds": 600.0,
                **options,
            },
        )

    return make


def _parts(plan: TimePlan) -> float:
    assert plan.search_seconds is not None
    return plan.search_seconds + (plan.retraining_seconds or 0.0) + plan.closing_seconds


@settings(deadline=None, max_examples=40)
@given(
    budget=some.floats(60.0, 30 * DAY),
    images=some.integers(50, 5_000_000),
    share=some.floats(0.01, 1.0),
)
def test_the_parts_of_any_plan_add_up_and_make_sense(
    plan: Plan, budget: float, images: int, share: float
) -> None:
    made = plan(budget_seconds=budget, images=images)

    assert _parts(made) == pytest.approx(budget)
    assert made.search_seconds is not None and made.trial_seconds is not None
    assert made.retraining_seconds is not None
    assert min(made.search_seconds, made.trial_seconds, made.retraining_seconds) >= 1
    assert made.trial_seconds <= made.search_seconds
    assert 1 <= made.first_rung <= made.intervals
    assert made.trials in (1, None)
    assert TimePlan.model_validate_json(made.model_dump_json(exclude_none=True)) == made

    shorter = plan(budget_seconds=max(60.0, share * budget), images=images)
    for name in ("search_seconds", "trial_seconds", "retraining_seconds", "closing_seconds"):
        assert getattr(shorter, name) <= getattr(made, name) * (1 + 1e-9), name


@settings(deadline=None, max_examples=20)
@given(budget=some.floats(60.0, 30 * DAY), images=some.integers(50, 5_000_000))
def test_the_default_is_always_worth_a_trial(
    plan: Plan, speed: MachineSpeed, budget: float, images: int
) -> None:
    made = plan(budget_seconds=budget, images=images)
    candidate = default_candidate(STUDY, made.task)
    shape = describe_model(candidate.model, INPUTS)

    cost = predict_cost(shape, candidate.training, speed, images=images)

    made.require_affordable(cost, candidate)


def test_the_plan_is_said_in_one_line(plan: Plan) -> None:
    text = plan(budget_seconds=480.0).describe()

    assert "\n" not in text
    assert text.startswith("8 min 00 s in total: ")
    for part in ("for the search (trials of ", "for the final training", "for the test"):
        assert part in text


def test_what_is_over_already_is_not_divided_again(plan: Plan) -> None:
    made = plan(budget_seconds=600.0, spent_seconds=100.0)

    assert made.budget_seconds == 600.0
    assert _parts(made) == pytest.approx(500.0)


def test_without_a_retraining_the_search_gets_all(plan: Plan) -> None:
    made = plan(retrain=False)

    assert made.retraining_seconds is None
    assert made.search_seconds == pytest.approx(599.0)
    assert "final training" not in made.describe()


def test_the_retraining_gets_the_seconds_that_were_asked_for(plan: Plan) -> None:
    made = plan(retraining_seconds=400.0)

    assert made.retraining_seconds == 400.0
    assert _parts(made) == pytest.approx(600.0)


def test_epochs_of_the_retraining_leave_the_search_what_they_do_not_take(plan: Plan) -> None:
    few, many = plan(retraining_epochs=1), plan(retraining_epochs=1_000_000)

    assert few.retraining_seconds is None and many.retraining_seconds is None
    assert few.search_seconds is not None and many.search_seconds is not None
    assert many.search_seconds < few.search_seconds < 600
    assert many.search_seconds >= 0.09 * 600


@pytest.mark.parametrize("seconds", [599.0, 600.0, 10_000.0])
def test_a_retraining_as_long_as_the_whole_is_refused(plan: Plan, seconds: float) -> None:
    with pytest.raises(UserError, match="leaves no time for the search"):
        plan(retraining_seconds=seconds)


def test_where_time_is_short_there_is_one_trial(plan: Plan, speed: MachineSpeed) -> None:
    slow = speed.model_copy(update={"overhead": 50.0, "arithmetic": 50.0, "memory": 50.0})
    short, long = (
        plan(budget_seconds=seconds, images=50_000, speed=slow) for seconds in (60.0, 86_400.0)
    )

    assert short.trials == 1
    assert "(1 trial of " in short.describe()
    assert short.search_seconds is not None and short.retraining_seconds is not None
    assert short.retraining_seconds >= 2.9 * short.search_seconds
    assert long.trials is None


def test_the_evaluation_is_reserved_for_by_its_images_views_and_precision(
    speed: MachineSpeed,
) -> None:
    candidate = default_candidate(STUDY, Task())
    mixed = speed.model_copy(
        update={"measured_on": speed.measured_on.model_copy(update={"policy": "mixed_bfloat16"})}
    )

    def seconds(
        images: int, *, mirrored: bool = False, speed: MachineSpeed = speed, budget: float = 600.0
    ) -> float:
        return closing_seconds(
            candidate, INPUTS, speed, images=images, budget_seconds=budget, mirrored=mirrored
        )

    test = seconds(10_000) - seconds(0)
    assert test > 0
    assert seconds(10_000, mirrored=True) - seconds(0, mirrored=True) == pytest.approx(2 * test)
    shape = describe_model(candidate.model, INPUTS)
    in_bfloat16 = predict_cost(shape, candidate.training, mixed, images=1000).validation_seconds
    assert seconds(10_000, speed=mixed) > 1.5 * 10_000 * in_bfloat16
    assert seconds(0, budget=DAY) == seconds(0, budget=2 * DAY) > seconds(0)


def test_the_evaluation_of_the_network_that_little_time_allows_is_reserved(
    plan: Plan, speed: MachineSpeed
) -> None:
    spec = load_study("depth_filters").spec
    given: dict[str, Any] = {"budget_seconds": 90.0, "test_images": 10_000}
    made = plan(spec, **given)
    narrow, wide = (default_candidate(spec, task) for task in (made.task, Task()))

    needed = {
        candidate: closing_seconds(
            candidate, INPUTS, speed, images=10_000, budget_seconds=90.0, mirrored=True
        )
        for candidate in (narrow, wide)
    }

    assert made.closing_seconds == pytest.approx(needed[narrow])
    assert needed[narrow] < needed[wide]


def test_more_images_make_longer_trials_up_to_a_point(plan: Plan) -> None:
    few, many = plan(images=500, budget_seconds=DAY), plan(images=50_000, budget_seconds=DAY)

    assert few.trial_seconds is not None and many.trial_seconds is not None
    assert few.trial_seconds < many.trial_seconds
    assert few.retraining_seconds is not None and many.retraining_seconds is not None
    assert few.retraining_seconds < many.retraining_seconds  # the search gets the rest


def test_without_a_budget_lengths_are_planned_and_nothing_is_limited(plan: Plan) -> None:
    made, usual = plan(budget_seconds=None), plan(budget_seconds=1800.0)

    assert (made.budget_seconds, made.search_seconds, made.trials) == (None, None, None)
    assert made.trial_seconds == usual.trial_seconds
    assert made.retraining_seconds == usual.retraining_seconds
    assert made.describe() == "no time limit"


def test_a_study_of_fixed_epochs_keeps_them_within_a_budget(
    plan: Plan, tiny_study: StudySpec
) -> None:
    made = plan(tiny_study)

    assert (made.trial_seconds, made.trials) == (None, None)
    assert _parts(made) == pytest.approx(600.0)


def test_the_pruner_counts_in_the_plans_intervals_or_in_the_studys_steps(plan: Plan) -> None:
    firsts: list[int] = []

    def pruner(first_rung: int) -> object:
        firsts.append(first_rung)
        return object()

    spec = STUDY.model_copy(update={"pruner": pruner, "first_rung": 3, "reports_per_epoch": 2})
    make_pruner(spec, TimePlan(trial_seconds=10.0, intervals=8, first_rung=4))
    make_pruner(spec, TimePlan())

    assert firsts == [4, 6]


def test_a_candidate_that_would_see_too_little_is_infeasible_with_the_figure() -> None:
    plan = TimePlan(retraining_seconds=100.0, fewest_passes=8.0, task=Task(images=1000))
    candidate = default_candidate(STUDY, plan.task)
    slow, fast = (
        TrainingCost(step_seconds=each, validation_seconds=0, compiling_seconds=0, step_images=100)
        for each in (2.0, 1.0)
    )

    plan.require_affordable(fast, candidate)
    with pytest.raises(InfeasibleError) as raised:
        plan.require_affordable(slow, candidate)

    assert raised.value.constraint == "seconds"
    assert "each image 8 times" in str(raised.value)
    assert "this one would see it 5 times at 50 images/s" in str(raised.value)


def test_passes_become_steps_of_batches_no_larger_than_the_images() -> None:
    candidate = default_candidate(STUDY, Task())

    assert candidate.training.batch_size == 256
    assert steps_of(3, candidate, 512) == 6
    assert steps_of(3, candidate, 100) == 3
    assert steps_of(0.001, candidate, 512) == 1
    on_features = most_retraining_steps(candidate, 2560, on_features=True)
    assert on_features < most_retraining_steps(candidate, 2560, on_features=False)


def test_a_space_without_a_candidate_that_can_be_built_is_refused() -> None:
    def nothing(trial: object) -> Any:
        raise InfeasibleError("never")

    with pytest.raises(UserError, match="must contain candidates that can be built"):
        default_candidate(STUDY.model_copy(update={"space": nothing}), Task())


def test_the_default_candidate_can_be_built_from_the_images() -> None:
    def deep(trial: ProbeTrial) -> Candidate:
        stages = trial.suggest_int("stages", 3, 5)
        backbone = staged(
            Plain(),
            filters=[8] * stages,
            depth=1,
            reduction="max",
            place="first",
            dropout=[0.0] * stages,
        )
        return Candidate(
            model=ModelConfig(backbone=backbone, head=Pooled()), training=TrainingConfig()
        )

    spec = StudySpec(name="deep", description="Any depth.", space=deep)
    small = INPUTS.model_copy(update={"image_shape": (8, 8, 3)})
    tiny = INPUTS.model_copy(update={"image_shape": (4, 4, 3)})

    backbone = default_candidate(spec, Task(), inputs=small).model.backbone
    assert isinstance(backbone, Staged)
    assert len(backbone.stages) == 3
    with pytest.raises(InfeasibleError, match=r"the first because: .*one pixel"):
        default_candidate(spec, Task(), inputs=tiny)
