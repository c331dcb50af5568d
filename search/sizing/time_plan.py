"""How a run divides its time budget; planned once and stored with the study."""

from typing import Literal

from optuna.pruners import BasePruner
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from cnn_blocks.build import describe_model
from cnn_blocks.config import Configuration, InputSpec
from cnn_blocks.errors import InfeasibleError
from search.progress.words import counted, duration
from search.sizing.cost import TrainingCost
from search.sizing.machine_speed import MachineSpeed
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial
from spaces.task import Task
from studies.study import StudySpec

# The budget if neither the command nor the study sets one.
DEFAULT_BUDGET_SECONDS = 1800.0
# More passes over the images neither rank candidates better nor improve the final training.
MOST_TRIAL_PASSES = 60.0
MOST_RETRAINING_PASSES = 300.0
# Heads on a frozen backbone's features converge within few passes.
MOST_FEATURE_PASSES = 40.0
_DRAWS = 20


class TimePlan(Configuration):
    """How a run divides its time, in wall-clock seconds.

    Attributes:
        budget_seconds: The whole run, from its first start; None for no limit.
        search_seconds: The search; None for no limit.
        trials: The number of trials that the search has time for; None for as many as fit.
        trial_seconds: The training of a trial that is not pruned; None if the study sets its
            length in epochs.
        intervals: The number of validations per trial.
        first_rung: The first validation at which a trial may be pruned.
        retraining_seconds: The winner's final training; None if its length is set in epochs.
        closing_seconds: Evaluation, figures and files.
        fewest_passes: How often a candidate must at least see each image in the final training.
        image_size: (height, width) in pixels at which images are loaded; None for their own size.
        task: The facts about the data and the run that the study's space receives.
        speed: The speed of this machine at the time of planning.
    """

    format_version: Literal[1] = 1
    budget_seconds: PositiveFloat | None = None
    search_seconds: PositiveFloat | None = None
    trials: PositiveInt | None = None
    trial_seconds: PositiveFloat | None = None
    intervals: PositiveInt = 1
    first_rung: PositiveInt = 1
    retraining_seconds: NonNegativeFloat | None = None
    closing_seconds: NonNegativeFloat = 0.0
    fewest_passes: NonNegativeFloat = 0.0
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    task: Task = Task()
    speed: MachineSpeed | None = None

    def describe(self) -> str:
        """Returns the plan in one line."""
        if self.budget_seconds is None:
            return "no time limit"
        parts = []
        if self.search_seconds is not None:
            trials = "" if self.trial_seconds is None else f" ({self._describe_trials()})"
            parts.append(f"{duration(self.search_seconds)} for the search{trials}")
        if self.retraining_seconds:
            parts.append(f"{duration(self.retraining_seconds)} for the final training")
        parts.append(f"{duration(self.closing_seconds)} for the test and the files")
        return f"{duration(self.budget_seconds)} in total: {', '.join(parts)}"

    def _describe_trials(self) -> str:
        assert self.trial_seconds is not None
        length = f"of {duration(self.trial_seconds)} of training"
        if self.trials is not None:
            return f"{counted(self.trials, 'trial')} {length}"
        return f"trials {length} each"

    def most_trial_steps(self, candidate: Candidate, *, on_features: bool) -> int:
        """Returns the number of steps after which more training of a trial is wasted."""
        passes = MOST_FEATURE_PASSES if on_features else MOST_TRIAL_PASSES
        return steps_of(passes, candidate, self.task.images)

    def require_affordable(self, cost: TrainingCost, candidate: Candidate) -> None:
        """Raises InfeasibleError if the final training would see the images too few times."""
        if not self.retraining_seconds or not self.fewest_passes:
            return
        possible = cost_passes(cost, self.retraining_seconds, self.task.images)
        if possible < self.fewest_passes:
            raise InfeasibleError(
                f"A candidate must be able to see each image {self.fewest_passes:.3g} times in the "
                f"final training's {duration(self.retraining_seconds)}; this one would see it "
                f"{possible:.2g} times at {cost.step_images / cost.step_seconds:,.0f} images/s.",
                constraint="seconds",
            )


def most_retraining_steps(candidate: Candidate, images: int, *, on_features: bool) -> int:
    """Returns the number of steps after which more final training on `images` is wasted."""
    passes = MOST_FEATURE_PASSES if on_features else MOST_RETRAINING_PASSES
    return steps_of(passes, candidate, images)


def steps_of(passes: float, candidate: Candidate, images: int) -> int:
    """Returns the number of steps in which a candidate passes `passes` times over `images`."""
    return max(1, round(passes * images / min(candidate.training.batch_size, images)))


def cost_passes(cost: TrainingCost, seconds: float, images: int) -> float:
    """Returns the number of passes over `images` in `seconds` of training."""
    return seconds / cost.step_seconds * cost.step_images / images


def make_pruner(spec: StudySpec, plan: TimePlan) -> BasePruner:
    """Returns the study's pruner, set to the steps at which the plan's trials report."""
    if plan.trial_seconds is None:
        return spec.make_pruner()
    pruner: BasePruner = spec.pruner(plan.first_rung)
    return pruner


def default_candidate(spec: StudySpec, task: Task, *, inputs: InputSpec | None = None) -> Candidate:
    """Returns the candidate of the study's first trial, or a random one if it names none.

    With `inputs`, the candidate is checked to be buildable for them, which imports Keras.
    Raises InfeasibleError if none of the candidates drawn can be built.
    """
    first = spec.first_trials(task)
    problem: InfeasibleError | None = None
    for seed in range(_DRAWS):
        probe = ProbeTrial(seed=seed, wanted=first[0] if first else None)
        try:
            candidate = spec.candidate(probe, task)
            if inputs is not None:
                # A space that ignores the image size may downsample the images to nothing.
                describe_model(candidate.model, inputs)
            return candidate
        except InfeasibleError as error:
            problem = problem or error
    raise InfeasibleError(
        f"A space must contain candidates that can be built; all {_DRAWS} drawn at random from "
        f"{spec.name!r} were infeasible, the first because: {problem}"
    ) from problem
