"""How a run divides the time it was given; made once, and stored with the study."""

import math
from typing import Literal

from optuna.pruners import BasePruner
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from cnn_blocks.build import describe_model
from cnn_blocks.config import Configuration, InputSpec
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.pretrained import Pretrained
from search.progress import counted, duration
from search.sizing.cost import TrainingCost, predict_cost
from search.sizing.machine_speed import MachineSpeed
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial
from spaces.task import Task
from studies.study import StudySpec

# What a run takes where neither the command nor the study says.
DEFAULT_BUDGET_SECONDS = 1800.0
# Figures and files; and the test images, which the model predicts in float32, each with its mirror
# image at worst.
_CLOSING_SECONDS = 5.0
_CLOSING_PART = 0.01
_TEST_FACTOR = 3.0
# A trial sees every image so often, or so many images where there are many, before its value says
# more than chance. Where that leaves no time for a second trial, the default alone is trained.
_LEAST_PASSES = 4.0
_LEAST_FINE_TUNING_PASSES = 1.5
_LEAST_IMAGES = 40_000
# More passes add nothing that a search could tell, or a final training needs.
_MOST_TRIAL_PASSES = 60.0
_MOST_RETRAINING_PASSES = 300.0
# Heads on a frozen backbone's features are trained to their end within few passes.
MOST_FEATURE_PASSES = 40.0
# Validation takes at most this part of a trial.
_VALIDATION_PART = 0.15
_MOST_INTERVALS = 8
# A candidate that would see the images less often than this in the final training, and less than
# this part of how often the default would, is not worth a trial.
_FEWEST_PASSES = 8.0
_FEWEST_PART = 0.25
_DRAWS = 20


class TimePlan(Configuration):
    """How a run divides its time, in seconds of wall-clock time.

    Attributes:
        budget_seconds: The whole run, from its first start on; None for no limit.
        search_seconds: The search; None for no limit.
        trials: How many trials the search has time for; None for as many as fit.
        trial_seconds: The training of a trial that is not pruned; None where the study gives its
            length in epochs.
        intervals: How often a trial is validated.
        first_rung: The validation at which a trial may first be pruned.
        retraining_seconds: The winner's final training; None where its length is given in epochs.
        closing_seconds: What evaluation, figures and files may take.
        fewest_passes: How often a candidate must be able to see each image in the final training.
        image_size: (height, width) in pixels that images are loaded at; None keeps theirs.
        task: What the study's space is told.
        speed: This machine's, as the plan was made.
    """

    format_version: Literal[1] = 1
    budget_seconds: PositiveFloat | None = None
    search_seconds: PositiveFloat | None = None
    trials: PositiveInt | None = None
    trial_seconds: PositiveFloat | None = None
    intervals: PositiveInt = 1
    first_rung: PositiveInt = 1
    retraining_seconds: NonNegativeFloat | None = None
    closing_seconds: NonNegativeFloat = _CLOSING_SECONDS
    fewest_passes: NonNegativeFloat = 0.0
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    task: Task = Task()
    speed: MachineSpeed | None = None

    def describe(self) -> str:
        """Returns the plan in one line."""
        if self.budget_seconds is None:
            return "no limit of time"
        parts = []
        if self.search_seconds is not None:
            trials = "" if self.trial_seconds is None else f" ({self._describe_trials()})"
            parts.append(f"{duration(self.search_seconds)} for the search{trials}")
        if self.retraining_seconds:
            parts.append(f"{duration(self.retraining_seconds)} for the final training")
        parts.append(f"{duration(self.closing_seconds)} for the test and the files")
        return f"{duration(self.budget_seconds)} in all: {', '.join(parts)}"

    def _describe_trials(self) -> str:
        assert self.trial_seconds is not None
        length = f"of {duration(self.trial_seconds)} of training"
        if self.trials is not None:
            return f"{counted(self.trials, 'trial')} {length}"
        return f"trials {length} each"

    def most_trial_steps(self, candidate: Candidate, *, on_features: bool) -> int:
        """Returns the steps after which more training of a trial is wasted."""
        passes = MOST_FEATURE_PASSES if on_features else _MOST_TRIAL_PASSES
        return steps_of(passes, candidate, self.task.images)

    def require_affordable(self, cost: TrainingCost, candidate: Candidate) -> None:
        """Raises InfeasibleError for a candidate that could not see the images often enough.

        That is judged by the time of the final training.
        """
        if not self.retraining_seconds or not self.fewest_passes:
            return
        possible = cost_passes(cost, self.retraining_seconds, self.task.images)
        if possible < self.fewest_passes:
            raise InfeasibleError(
                f"A candidate must be able to see each image {self.fewest_passes:.3g} times in the "
                f"final training's {duration(self.retraining_seconds)}; this one would see it "
                f"{possible:.2g} times, at {cost.step_images / cost.step_seconds:,.0f} images/s.",
                constraint="seconds",
            )


def most_retraining_steps(candidate: Candidate, images: int, *, on_features: bool) -> int:
    """Returns the steps after which more final training on so many images is wasted."""
    passes = MOST_FEATURE_PASSES if on_features else _MOST_RETRAINING_PASSES
    return steps_of(passes, candidate, images)


def steps_of(passes: float, candidate: Candidate, images: int) -> int:
    """Returns the steps in which a candidate sees so many images so often."""
    return max(1, round(passes * images / min(candidate.training.batch_size, images)))


def cost_passes(cost: TrainingCost, seconds: float, images: int) -> float:
    """Returns how often so many images are seen in some seconds of training."""
    return seconds / cost.step_seconds * cost.step_images / images


def make_pruner(spec: StudySpec, plan: TimePlan) -> BasePruner:
    """Returns a study's pruner, which counts in the steps of the plan's trials."""
    if plan.trial_seconds is None:
        return spec.make_pruner()
    pruner: BasePruner = spec.pruner(plan.first_rung)
    return pruner


def default_candidate(spec: StudySpec, task: Task) -> Candidate:
    """Returns the study's first trial, or one drawn at random where it names none."""
    first = spec.first_trials(task)
    for seed in range(_DRAWS):
        try:
            return spec.candidate(ProbeTrial(seed=seed, wanted=first[0] if first else None), task)
        except InfeasibleError:
            continue
    raise UserError(
        f"A space must hold candidates that can be built; {_DRAWS} drawn at random from "
        f"{spec.name!r} were all infeasible. Look at it with --dry-run."
    )


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
    `retrain` there is none. Without a budget the lengths are those of the default budget, and time
    is not limited.
    """
    whole = budget_seconds or DEFAULT_BUDGET_SECONDS
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
        retraining = usable - search
        most = cost.compiling_seconds + _MOST_RETRAINING_PASSES * development * (
            cost.step_seconds / cost.step_images
        )
        if retraining > most:
            retraining, search = most, usable - most
    tuned = longest.training.fine_tuning is not None
    least = min((_LEAST_FINE_TUNING_PASSES if tuned else _LEAST_PASSES) * images, _LEAST_IMAGES)
    trials, trial_seconds = _trials(cost, search, images=images, least_images=least)
    validation = validation_images * cost.validation_seconds
    intervals = int(_VALIDATION_PART * trial_seconds / max(validation, 1e-6))
    intervals = max(1, min(intervals, _MOST_INTERVALS))
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
    return min(0.5, max(0.12, 0.12 + 0.16 * math.log10(max(passes, 1.0) / 10)))


def _trials(
    cost: TrainingCost, search: float, *, images: int, least_images: float
) -> tuple[int | None, float]:
    """Returns how many trials fit, None for many, and the seconds of training of each."""
    each = cost.step_seconds / cost.step_images
    least = least_images * each
    wanted = max(3.0, 6.0 * (search / 150.0) ** 0.3)
    seconds = max(least, search / wanted - cost.compiling_seconds)
    seconds = min(seconds, _MOST_TRIAL_PASSES * images * each)
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
    candidates = [default_candidate(spec, task)]
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
