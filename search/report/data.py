"""What a report says, as plain values: gathered first, rendered afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from search.results.report_material import ReportMaterial
from search.trials.outcomes import Outcome

SearchState: TypeAlias = Outcome | Literal["running", "waiting"]


@dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """One trial of a study.

    `value` is the metric at the end, or the last reported value of a trial that ended early.
    `began` and `ended` are seconds of search time, which excludes pauses without a running trial.
    `curve` holds (passes over the training images, metric). `parameters` counts the network's
    parameters; `choices` are the values suggested from the space.
    """

    number: int
    state: SearchState
    value: float | None
    reason: str | None = None
    warning: str | None = None
    began: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    passes: float = 0.0
    curve: tuple[tuple[float, float], ...] = ()
    parameters: int | None = None
    images_per_second: float | None = None
    training_accuracy: float | None = None
    summary: str = ""
    recipe: str | None = None
    is_given: bool = False
    choices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether the trial counts: false if a later trial continues it."""
        return not isinstance(self.state, Outcome) or self.state.counts


@dataclass(frozen=True, kw_only=True)
class ParameterFacts:
    """A parameter of the space; `choices` are the texts of a categorical one, in order.

    `whole` is true if its values are integers. `importance` is its share of the difference between
    good trials and others, None if too few completed.
    """

    name: str
    log: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()
    importance: float | None = None


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """A stored study. `trials` are all of its trials by number; `best` is the winner's number.

    `default` is the number of the first trial that the study defines itself, `openings` what is
    recorded about openings of the test images, `training_images` how many images a trial trains on.
    """

    name: str
    description: str
    metric: str
    maximize: bool
    trials: tuple[TrialFacts, ...]
    parameters: tuple[ParameterFacts, ...] = ()
    best: int | None = None
    default: int | None = None
    class_names: tuple[str, ...] = ()
    image_shape: str = ""
    data: str = ""
    data_fingerprint: str = ""
    split: Mapping[str, int] = field(default_factory=dict)
    training_images: int | None = None
    search_seconds: float = 0.0
    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    plan: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def trial(self, number: int | None) -> TrialFacts | None:
        """Returns a trial by number; None for None."""
        return None if number is None else self.trials[number]

    @property
    def counted(self) -> tuple[TrialFacts, ...]:
        """The trials without those that a later one continues."""
        return tuple(trial for trial in self.trials if trial.counts)

    @property
    def images_shown(self) -> int | None:
        """How many training images all trials together have trained on."""
        if self.training_images is None:
            return None
        return round(sum(trial.passes for trial in self.counted) * self.training_images)


@dataclass(frozen=True)
class Bin:
    """Test images with a confidence in [low, high): count, mean confidence and accuracy."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well confidence predicts accuracy; `error` is the expected calibration error, 0 to 1."""

    error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """A finished run, read from its folder.

    `test` holds the scores of metrics.json. `interval` is the 95% interval of the test accuracy.
    `environment`, `history` and `material` are empty if the folder lacks them.
    """

    directory: Path
    study: str | None
    trial: int | None
    recipe: str | None
    summary: str
    test: Mapping[str, Any]
    interval: tuple[float, float]
    retraining: Mapping[str, Any]
    openings: tuple[Mapping[str, Any], ...]
    seconds_by_activity: Mapping[str, float]
    history: tuple[Mapping[str, float], ...] = ()
    calibration: Calibration | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    configuration: str = ""
    material: ReportMaterial | None = None
    model_bytes: int | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the model's outputs."""
        return tuple(row["name"] for row in self.test["per_class"])

    @property
    def confusion(self) -> list[list[int]]:
        """Test images by true class (rows) and predicted class (columns)."""
        matrix: list[list[int]] = self.test["confusion_matrix"]
        return matrix


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """A part of a network; `shape` is its output shape for one image.

    `block` names the kind of block in a stage built by a search; otherwise it is "".
    """

    title: str
    block: str
    layers: str
    shape: tuple[int, ...]
    parameters: int
    multiply_accumulates: int


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """The winner, stage by stage; `multiply_accumulates` counts those of one prediction."""

    summary: str
    stages: tuple[StageFacts, ...]
    parameters: int
    multiply_accumulates: int
    mirrored: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A row to compare with the winner: the default, a recipe, a published figure, another study.

    `kind` says which it is; `remark` says what limits the comparison.
    """

    kind: Literal["winner", "default", "recipe", "published", "study"]
    name: str
    validation: float | None = None
    test: float | None = None
    interval: tuple[float, float] | None = None
    parameters: int | None = None
    multiply_accumulates: int | None = None
    single_seconds: float | None = None
    hours: float | None = None
    trials: int | None = None
    images: int | None = None
    remark: str = ""
    best_so_far: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The whole content of a report.

    `notes` say what is missing and why. `run` is None before the final training.
    """

    title: str
    made: datetime
    version: str
    study: StudyFacts | None
    run: RunFacts | None
    network: NetworkFacts | None
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
