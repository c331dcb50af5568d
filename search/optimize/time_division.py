"""Divides a run's time: how much of it is search, and how long a trial must be."""

import math

from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec
from cnn_blocks.errors import UserError
from cnn_blocks.pretrained import Pretrained
from search.progress.words import duration
from search.sizing.cost import TrainingCost, predict_cost
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import (
    DEFAULT_BUDGET_SECONDS,
    MOST_RETRAINING_PASSES,
    MOST_TRIAL_PASSES,
    TimePlan,
    cost_passes,
    default_candidate,
)
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial
from spaces.task import Task
from studies.study import StudySpec

# Figures and files; and the test images, which the model predicts in float32, each with its mirror
# image at worst.
_CLOSING_SECONDS = 5.0
_CLOSING_PART = 0.01
_TEST_FACTOR = 3.0
# The search never gets a larger part than this, unless the final training has no use for its own.
_MOST_SEARCH = 0.5
# A backbone's features are computed in float32; a head is trained on them in so many seconds.
_FEATURES_FACTOR = 1.5
_HEAD_SECONDS = 8.0
# A trial sees every image so often, or so many images where there are many, before its value says
# more than chance. Where that leaves no time for a second trial, the default alone is trained.
_LEAST_PASSES = 4.0
_LEAST_FINE_TUNING_PASSES = 1.5
_LEAST_IMAGES = 40_000
# Validation takes at most this part of a trial.
_VALIDATION_PART = 0.15
_MOST_INTERVALS = 8
# A candidate that would see the images less often than this in the final training, and less than
# this part of how often the default would, is not worth a trial.
_FEWEST_PASSES = 8.0
_FEWEST_PART = 0.25


def make_plan(
    spec: StudySpec,
    inputs: InputSpec,
    *,
    images: int,
    validation_images: int,
    test_images: int = 0,
    speed: MachineSpeed,
    budget_seconds: float | None,
    spent_seconds: float = 0.0,
    retrain: bool = True,
    retraining_seconds: float | None = None,
    retraining_epochs: int | None = None,
    image_size: tuple[int, int] | None = None,
) -> TimePlan:
    """Divides a budget, of which `spent_seconds` are over, for a study on so many images.

    `retraining_seconds` and `retraining_epochs` say how long the final training lasts; without
    `retrain` there is none. Without a budget the lengths are those of the study's own, or of the
    default one, and time is not limited.
    """
    whole = budget_seconds or spec.budget_seconds or DEFAULT_BUDGET_SECONDS
    development = images + validation_images
    task = Task(image_shape=inputs.image_shape, classes=inputs.classes, images=images)
    longest, cost = _longest_trial(spec, task, inputs, speed)
    closing = 1.0
    if retrain:
        test = _TEST_FACTOR * test_images * cost.validation_seconds
        closing = min(_CLOSING_SECONDS + _CLOSING_PART * whole, 30.0) + test
    usable = max(1.0, whole - spent_seconds - closing)
    task = task.model_copy(
        update={"multiply_accumulates": _affordable(longest, inputs, cost, usable, development)}
    )
    longest, cost = _longest_trial(spec, task, inputs, speed)
    # Before a trial of fine-tuning the same backbone's features are computed, and heads trained.
    before = 0.0
    if longest.training.fine_tuning is not None:
        before = _FEATURES_FACTOR * development * cost.validation_seconds
        before += 3 * cost.compiling_seconds + _HEAD_SECONDS
    least = cost.compiling_seconds + _least_images(longest, images) * (
        cost.step_seconds / cost.step_images
    )

    if not retrain:
        retraining: float | None = None
        search = usable
    elif retraining_epochs is not None:
        retraining = None
        expected = cost.compiling_seconds + retraining_epochs * development * cost.step_seconds / (
            cost.step_images
        )
        search = max(usable - expected, 0.1 * usable)
    elif retraining_seconds is not None:
        if retraining_seconds >= usable:
            raise UserError(
                f"A budget is the time of the whole run, the final training included; received "
                f"{duration(whole)} with {duration(retraining_seconds)} for the final training, "
                f"which leaves none for the search. Raise --budget or lower --retrain-budget."
            )
        retraining, search = retraining_seconds, usable - retraining_seconds
    else:
        passes = cost_passes(cost, usable, development)
        search = usable * _search_part(passes)
        search = max(search, min(_MOST_SEARCH * usable, least + before))
        retraining = usable - search
        most = cost.compiling_seconds + MOST_RETRAINING_PASSES * development * (
            cost.step_seconds / cost.step_images
        )
        if retraining > most:
            retraining, search = most, usable - most
    trials, trial_seconds = _trials(
        cost, search - before, most_images=MOST_TRIAL_PASSES * images, least_seconds=least
    )
    if before:
        trials = None
    validation = validation_images * cost.validation_seconds
    intervals = int(_VALIDATION_PART * trial_seconds / max(validation, 1e-6))
    intervals = max(1, min(intervals, _MOST_INTERVALS))
    if before:
        # Those in which a head trains on features alone cost next to nothing.
        intervals = _MOST_INTERVALS
    fewest = 0.0
    if retraining:
        default = cost_passes(cost, retraining, images)
        fewest = min(_FEWEST_PASSES, _FEWEST_PART * default)
    unlimited = budget_seconds is None
    return TimePlan(
        budget_seconds=budget_seconds,
        search_seconds=None if unlimited else search,
        trials=None if unlimited or spec.epochs is not None else trials,
        trial_seconds=None if spec.epochs is not None else trial_seconds,
        intervals=intervals,
        first_rung=max(1, math.ceil(intervals / 2)),
        retraining_seconds=retraining,
        closing_seconds=closing,
        fewest_passes=fewest,
        image_size=image_size,
        task=task,
        speed=speed,
    )


def _search_part(passes: float) -> float:
    """Returns the part of the time that the search gets.

    Where all of the time would show each image ten times, every pass counts and little is left to
    search with; where it would show them a thousand times, the final training is soon at its end.
    """
    return min(_MOST_SEARCH, max(0.12, 0.12 + 0.16 * math.log10(max(passes, 1.0) / 10)))


def _least_images(candidate: Candidate, images: int) -> float:
    """Returns how many images a trial must see before its value says more than chance."""
    tuned = candidate.training.fine_tuning is not None
    passes = _LEAST_FINE_TUNING_PASSES if tuned else _LEAST_PASSES
    return min(passes * images, _LEAST_IMAGES)


def _trials(
    cost: TrainingCost, search: float, *, most_images: float, least_seconds: float
) -> tuple[int | None, float]:
    """Returns how many trials fit, None for many, and the seconds of training of each.

    `least_seconds` are those of a trial that means something, compiling included.
    """
    search = max(search, 1.0)
    wanted = max(3.0, 6.0 * (search / 150.0) ** 0.3)
    seconds = max(least_seconds, search / wanted) - cost.compiling_seconds
    seconds = min(seconds, most_images * cost.step_seconds / cost.step_images)
    if 2 * (seconds + cost.compiling_seconds) > search * 1.2:
        # The default alone: what it measures is the speed, and whether flips do harm.
        return 1, max(1.0, min(seconds, search - cost.compiling_seconds))
    return None, max(1.0, seconds)


def _longest_trial(
    spec: StudySpec, task: Task, inputs: InputSpec, speed: MachineSpeed
) -> tuple[Candidate, TrainingCost]:
    """Returns the default candidate, or the pretrained one among the first that costs the most.

    Heads on features cost next to nothing: a trial must be long enough for fine-tuning as well.
    """
    candidates = [default_candidate(spec, task, inputs=inputs)]
    if spec.backbones:
        candidates += [
            spec.candidate(ProbeTrial(wanted=wanted), task) for wanted in spec.first_trials(task)
        ]
    costs = [
        (candidate, _cost(candidate, task, inputs, speed))
        for candidate in candidates
        if candidate is candidates[0] or isinstance(candidate.model.backbone, Pretrained)
    ]
    return max(costs, key=lambda pair: pair[1].step_seconds / pair[1].step_images)


def _cost(candidate: Candidate, task: Task, inputs: InputSpec, speed: MachineSpeed) -> TrainingCost:
    last = candidate.phases()[-1].candidate
    shape = describe_model(last.model, inputs)
    frozen = last.model.backbone.frozen
    return predict_cost(shape, last.training, speed, images=task.images, on_features=frozen)


def _affordable(
    candidate: Candidate, inputs: InputSpec, cost: TrainingCost, usable: float, development: int
) -> float:
    """Returns the multiply-accumulates that the final training can spend on each image."""
    passes = cost_passes(cost, usable, development)
    training = passes * (1 - _search_part(passes))
    return max(1.0, training * describe_model(candidate.model, inputs).multiply_accumulates)
