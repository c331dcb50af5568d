"""What a study would do and cost, without doing it."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from cnn_blocks.build import describe_model
from cnn_blocks.errors import InfeasibleError
from search import feasibility
from search.clock import Clock
from search.errors import TrialFailure
from search.progress import Progress, duration
from search.runtime import Precision, Xla, start_keras
from spaces.candidate import Candidate
from spaces.probe import explore, parameters
from studies.study import LoadedStudy, StudySpec, load_study

if TYPE_CHECKING:
    from search.data import Split

# Enough steps to time, few enough for the largest candidate of a space.
_TIMED_STEPS = 6
_ON_FEATURES = (
    "The frozen backbone runs once, not in every epoch as these times have it: expect a fraction."
)


@dataclass(frozen=True)
class Sizing:
    """A candidate's size and speed; `problem` says why it cannot be trained here."""

    summary: str
    parameters: int
    memory_bytes: int
    seconds_per_epoch: float | None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """A study's space, the extremes found in it, and the time that it would take at most.

    `on_features` says that the backbone runs once instead of in every epoch, which is not counted
    in the times. `notes` says which recipes would come first.
    """

    name: str
    description: str
    images: int
    parameters: Mapping[str, BaseDistribution]
    smallest: Sizing
    largest: Sizing
    trials: int
    epochs: int
    retrain_epochs: int
    budget_seconds: float | None
    development_share: float
    on_features: bool = False
    notes: tuple[str, ...] = ()

    @property
    def seconds_per_epoch(self) -> float | None:
        """The expected seconds an epoch: the geometric mean of the extremes."""
        known = [
            sizing.seconds_per_epoch
            for sizing in (self.smallest, self.largest)
            if sizing.seconds_per_epoch is not None
        ]
        return statistics.geometric_mean(known) if known else None

    @property
    def search_seconds(self) -> float | None:
        """The search's expected seconds without pruning, or its budget where that is less."""
        if self.seconds_per_epoch is None:
            return self.budget_seconds
        seconds = self.trials * self.epochs * self.seconds_per_epoch
        return min(seconds, self.budget_seconds or seconds)

    @property
    def retrain_seconds(self) -> float | None:
        """The retraining's expected seconds, for a winner of middling size."""
        if self.seconds_per_epoch is None:
            return None
        return self.retrain_epochs * self.seconds_per_epoch * self.development_share

    def __str__(self) -> str:
        width = max(map(len, self.parameters), default=0)
        total = (self.search_seconds or 0.0) + (self.retrain_seconds or 0.0)
        bound = "" if self.budget_seconds is None else f", at most {duration(self.budget_seconds)}"
        return "\n".join(
            [
                f"{self.name}: {self.description}",
                "",
                "searches",
                *(
                    f"  {name:<{width}}  {describe_distribution(found)}"
                    for name, found in self.parameters.items()
                ),
                "",
                *self.notes,
                *([""] if self.notes else []),
                f"smallest candidate found: {_describe(self.smallest)}",
                f"largest candidate found:  {_describe(self.largest)}",
                "",
                f"search: {self.trials} trials of {self.epochs} epochs on {self.images:,} images"
                f"{bound}: about {_time(self.search_seconds)} without pruning",
                f"retraining: {self.retrain_epochs} epochs: about {_time(self.retrain_seconds)}",
                f"together: about {_time(total or None)}",
                *([_ON_FEATURES] if self.on_features else []),
            ]
        )


def dry_run(
    study: str | Path | StudySpec | LoadedStudy,
    *,
    data: str | Path | None = None,
    trials: int | None = None,
    budget_seconds: float | None = None,
    retrain_epochs: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    max_bad_files: float = 0.01,
    seed: int = 0,
    precision: Precision = "auto",
    xla: Xla = "auto",
    warm_start: Literal["recipes"] | None = None,
    cache_limit: int | None = None,
) -> DryRun:
    """Describes a study on some data: its space, its extremes, and how long they train.

    Trains the smallest and the largest candidate that a look around the space finds for a few
    steps; stores nothing. Raises UserError for bad input.
    """
    from search.features import FeatureSource
    from search.pipeline import load_split, require_data
    from search.warm_start import enqueue_recipes

    spec = load_study(study).spec
    split = load_split(
        require_data(spec, data), seed=seed, image_size=image_size, max_bad_files=max_bad_files
    )
    feasibility.gpu_memory()
    start_keras()
    smallest, largest = _extremes(spec, split)
    features = FeatureSource(split, limit=cache_limit)
    notes = _Notes()
    if warm_start == "recipes":
        enqueue_recipes(optuna.create_study(), spec, notes)
    return DryRun(
        name=spec.name,
        description=spec.description,
        images=len(split.train),
        parameters=parameters(spec.candidate, draws=spec.probes),
        smallest=_size(smallest, split, seed, precision, xla),
        largest=_size(largest, split, seed, precision, xla),
        trials=trials or spec.trials,
        epochs=spec.epochs,
        retrain_epochs=retrain_epochs or spec.retrain_epochs,
        budget_seconds=budget_seconds or spec.budget_seconds,
        development_share=len(split.development) / len(split.train),
        on_features=features.suits(smallest) and features.suits(largest),
        notes=tuple(notes.texts),
    )


class _Notes(Progress):
    """Keeps what would be shown."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def describe_distribution(distribution: BaseDistribution) -> str:
    """Returns a parameter's range in words."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    text = f"{distribution.low:g} to {distribution.high:g}"
    if distribution.log:
        text += ", logarithmic"
    if distribution.step not in (None, 1):
        text += f", in steps of {distribution.step:g}"
    return text


def _extremes(spec: StudySpec, split: "Split") -> tuple[Candidate, Candidate]:
    sized: list[tuple[int, Candidate]] = []
    problem: InfeasibleError | None = None
    for _, candidate in explore(spec.candidate, draws=min(8, spec.probes)):
        try:
            shape = describe_model(candidate.model, split.spec)
            feasibility.require_parameters(shape.parameters, spec.most_parameters)
        except InfeasibleError as error:
            problem = error
            continue
        sized.append((shape.parameters, candidate))
    if not sized:
        assert problem is not None
        raise problem
    sized.sort(key=lambda pair: pair[0])
    return sized[0][1], sized[-1][1]


def _size(
    candidate: Candidate, split: "Split", seed: int, precision: Precision, xla: Xla
) -> Sizing:
    from search.training import fit

    shape = describe_model(candidate.model, split.spec)
    memory = feasibility.estimate_memory(shape, candidate.training)
    sizing = Sizing(candidate.summary(), shape.parameters, memory, None)
    batch = min(candidate.training.batch_size, len(split.train))
    some = replace(split.train, indices=split.train.indices[: batch * _TIMED_STEPS])
    steps = len(some) // batch
    clock = Clock()
    try:
        feasibility.require_memory(memory)
        fit(
            candidate.with_training(epochs=1, early_stopping=None),
            some,
            spec=split.spec,
            seed=seed,
            precision=precision,
            xla=xla,
            clock=clock,
        )
    except (InfeasibleError, TrialFailure, MemoryError) as error:
        return replace(sizing, problem=str(error))
    # The first step compiles and is not counted as training.
    step_seconds = clock.seconds["training"] / max(1, steps - 1)
    return replace(sizing, seconds_per_epoch=step_seconds * len(split.train) / batch)


def _describe(sizing: Sizing) -> str:
    text = (
        f"{sizing.parameters:,} parameters, about "
        f"{sizing.memory_bytes / feasibility.MEBIBYTE:,.0f} MiB of memory, "
    )
    if sizing.problem is not None:
        return f"{text}infeasible here: {sizing.problem} [{sizing.summary}]"
    return f"{text}{_time(sizing.seconds_per_epoch)} an epoch [{sizing.summary}]"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)
