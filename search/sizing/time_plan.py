"""How a run divides the time it was given; made once, and stored with the study."""

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

# What a run takes where neither the command nor the study says.
DEFAULT_BUDGET_SECONDS = 1800.0
# More passes add nothing that a search could tell, or a final training needs.
MOST_TRIAL_PASSES = 60.0
MOST_RETRAINING_PASSES = 300.0
# Heads on a frozen backbone's features are trained to their end within few passes.
MOST_FEATURE_PASSES = 40.0
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
    closing_seconds: NonNegativeFloat = 0.0
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
        passes = MOST_FEATURE_PASSES if on_features else MOST_TRIAL_PASSES
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
    passes = MOST_FEATURE_PASSES if on_features else MOST_RETRAINING_PASSES
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


def default_candidate(spec: StudySpec, task: Task, *, inputs: InputSpec | None = None) -> Candidate:
    """Returns the study's first trial, or one drawn at random where it names none.

    With `inputs` it can be built from them, which takes Keras to find out.
    Raises InfeasibleError where none of those drawn can be built.
    """
    first = spec.first_trials(task)
    problem: InfeasibleError | None = None
    for seed in range(_DRAWS):
        probe = ProbeTrial(seed=seed, wanted=first[0] if first else None)
        try:
            candidate = spec.candidate(probe, task)
            if inputs is not None:
                # A space that knows nothing of the images' size may reduce them to nothing.
                describe_model(candidate.model, inputs)
            return candidate
        except InfeasibleError as error:
            problem = problem or error
    raise InfeasibleError(
        f"A space must hold candidates that can be built; {_DRAWS} drawn at random from "
        f"{spec.name!r} were all infeasible, the first because: {problem}"
    ) from problem
