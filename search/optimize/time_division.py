"""Divides a run's time between search and final training, and sets the length of a trial."""

import math

from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec
from cnn_blocks.errors import UserError
from cnn_blocks.pretrained import Pretrained
from search.progress.words import duration
from search.results.retraining import CHECKED_IMAGES
from search.sizing.cost import TrainingCost, predict_cost, predict_validation_seconds
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

# The closing phase: figures and files, then the test images and a sample of the training images,
# which the model predicts in float32. The margin is for a machine that slows down.
_CLOSING_SECONDS = 5.0
_CLOSING_PART = 0.01
_MOST_FOR_FILES = 30.0
_FLOAT32_FACTOR = 1.5
_EVALUATION_MARGIN = 1.2
# The search gets at most this part, unless the final training cannot use the rest. A search too
# short for two trials that can be compared gets less: it only finds out whether flips are harmless.
_MOST_SEARCH = 0.5
_MOST_SINGLE_TRIAL = 0.25
# Training heads on a backbone's features, which are computed in float32 as well.
_HEAD_SECONDS = 8.0
# Before its value says more than chance, a trial must see every image this often, or this many
# images in total on a large data set. If that leaves no time for a second trial, only the default
# candidate is trained.
_LEAST_PASSES = 4.0
_LEAST_FINE_TUNING_PASSES = 1.5
_LEAST_IMAGES = 40_000
# Validation takes at most this part of a trial.
_VALIDATION_PART = 0.15
_MOST_INTERVALS = 8
# A candidate is not worth a trial if in the final training it would see the images less often than
# this, and less than this part of how often the default candidate would.
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
    """Divides a budget for a study on `images` training images; `spent_seconds` of it are spent.

    `retraining_seconds` or `retraining_epochs` sets the length of the final training; without
    `retrain` there is none. Without a budget time is not limited, and the lengths are those for the
    study's own budget or the default one.
    """
    whole = budget_seconds or spec.budget_seconds or DEFAULT_BUDGET_SECONDS

    def closing_of(candidate: Candidate) -> float:
        if not retrain:
            return 1.0
        return closing_seconds(
            candidate, inputs, speed, images=test_images, budget_seconds=whole, mirrored=True
        )

    development = images + validation_images
    task = Task(image_shape=inputs.image_shape, classes=inputs.classes, images=images)
    longest, cost = _longest_trial(spec, task, inputs, speed)
    closing = closing_of(longest)
    usable = max(1.0, whole - spent_seconds - closing)
    task = task.model_copy(
        update={"multiply_accumulates": _affordable(longest, inputs, cost, usable, development)}
    )
    # Little time makes the default network narrower, which makes its evaluation shorter.
    longest, cost = _longest_trial(spec, task, inputs, speed)
    closing = closing_of(longest)
    usable = max(1.0, whole - spent_seconds - closing)
    # Before a fine-tuning trial, its backbone's features are computed and heads trained on them.
    before = 0.0
    if longest.training.fine_tuning is not None:
        before = _FLOAT32_FACTOR * development * cost.validation_seconds
        before += 3 * cost.compiling_seconds + _HEAD_SECONDS
    least = cost.training_seconds(_least_images(longest, images) / cost.step_images)

    if not retrain:
        retraining: float | None = None
        search = usable
    elif retraining_epochs is not None:
        retraining = None
        expected = cost.training_seconds(retraining_epochs * development / cost.step_images)
        search = max(usable - expected, 0.1 * usable)
    elif retraining_seconds is not None:
        if retraining_seconds >= usable:
            raise UserError(
                f"A budget covers the whole run, including the final training; received "
                f"{duration(whole)} with {duration(retraining_seconds)} for the final training, "
                f"which leaves no time for the search. Fix: raise --budget or lower "
                f"--retrain-budget."
            )
        retraining, search = retraining_seconds, usable - retraining_seconds
    else:
        passes = cost_passes(cost, usable, development)
        most = _MOST_SEARCH if before else _MOST_SINGLE_TRIAL
        search = max(usable * _search_part(passes), min(most * usable, least + before))
        retraining = usable - search
        longest_retraining = cost.training_seconds(
            MOST_RETRAINING_PASSES * development / cost.step_images
        )
        if retraining > longest_retraining:
            retraining, search = longest_retraining, usable - longest_retraining
    trials, trial_seconds = _trials(
        cost, search - before, most_images=MOST_TRIAL_PASSES * images, least_seconds=least
    )
    if before:
        trials = None
    validation = validation_images * cost.validation_seconds
    intervals = int(_VALIDATION_PART * trial_seconds / max(validation, 1e-6))
    intervals = max(1, min(intervals, _MOST_INTERVALS))
    if before:
        # Intervals in which only a head trains on features cost next to nothing.
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


def closing_seconds(
    candidate: Candidate,
    inputs: InputSpec,
    speed: MachineSpeed,
    *,
    images: int,
    budget_seconds: float,
    mirrored: bool,
) -> float:
    """Returns the seconds to reserve for evaluating a candidate on `images` and writing its files.

    A `mirrored` network predicts each image and its mirror image.
    """
    files = min(_CLOSING_SECONDS + _CLOSING_PART * budget_seconds, _MOST_FOR_FILES)
    each = predict_validation_seconds(describe_model(candidate.model, inputs), speed)
    if speed.table != "float32":
        each *= _FLOAT32_FACTOR
    views = (images + CHECKED_IMAGES) * (2 if mirrored else 1)
    return files + _EVALUATION_MARGIN * views * each


def _search_part(passes: float) -> float:
    """Returns the part of the time that the search gets.

    `passes` is how often the whole time would show each image. With ten passes every pass counts,
    and little time is left for the search; with a thousand, the final training needs only some.
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
    """Returns the number of trials, None for as many as fit, and the training seconds of each.

    `least_seconds` is the length of the shortest meaningful trial, compilation included.
    """
    search = max(search, 1.0)
    wanted = max(3.0, 6.0 * (search / 150.0) ** 0.3)
    seconds = max(least_seconds, search / wanted) - cost.compiling_seconds
    seconds = min(seconds, most_images * cost.step_seconds / cost.step_images)
    if 2 * (seconds + cost.compiling_seconds) > search * 1.2:
        # Only the default candidate: it measures the speed, and whether flips are harmful.
        return 1, max(1.0, min(seconds, search - cost.compiling_seconds))
    return None, max(1.0, seconds)


def _longest_trial(
    spec: StudySpec, task: Task, inputs: InputSpec, speed: MachineSpeed
) -> tuple[Candidate, TrainingCost]:
    """Returns the most expensive of the default candidate and the pretrained first trials.

    Heads on features cost next to nothing, but a trial must be long enough for fine-tuning as well.
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
    """Returns how many multiply-accumulates per image the final training can afford."""
    passes = cost_passes(cost, usable, development)
    training = passes * (1 - _search_part(passes))
    return max(1.0, training * describe_model(candidate.model, inputs).multiply_accumulates)
