"""Predicts what a study would do and cost, without running it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json

from cnn_blocks.build import describe_model
from cnn_blocks.errors import InfeasibleError
from search.data.source import Data
from search.optimize.budget import Budget
from search.optimize.planning import plan_run
from search.progress.events import Event, Note, Progress
from search.progress.words import duration
from search.sizing.cost import TrainingCost, predict_cost
from search.sizing.machine_speed import MachineSpeed, measured_speed
from search.sizing.time_plan import TimePlan, default_candidate
from search.storage.places import Places
from search.system.runtime import Compute, start_keras
from search.training import feasibility
from search.training.class_weighting import ClassWeights, choose_class_weights
from search.training.metrics import Metric
from spaces.candidate import Candidate
from spaces.probe import Space, describe_distribution, explore, parameters
from studies.study import LoadedStudy, StudySpec, load_study

if TYPE_CHECKING:
    from search.data import Split
    from search.training.features.source import FeatureSource

_PREDICTED = "Times are predicted from this machine's speed on small networks; nothing was trained."
_ON_FEATURES = "The frozen backbone runs once over all images, before the first trial."
# What `TimePlan.describe` shows of a plan.
_TIMES = {
    "budget_seconds",
    "search_seconds",
    "trials",
    "trial_seconds",
    "retraining_seconds",
    "closing_seconds",
}


@dataclass(frozen=True)
class Sizing:
    """A candidate's size and predicted speed; `problem` says why it cannot be trained here."""

    summary: str
    parameters: int
    multiply_accumulates: int
    memory_bytes: int
    images_per_second: float
    problem: str | None = None

    def as_data(self) -> dict[str, Any]:
        """Returns the same facts as plain values for JSON."""
        return {
            "network": self.summary,
            "parameters": self.parameters,
            "multiply_accumulates": self.multiply_accumulates,
            "memory_bytes": self.memory_bytes,
            "predicted_images_per_second": self.images_per_second,
            "problem": self.problem,
        }


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """A study's space, its default candidate, the extremes found in it, and the time plan.

    `trials` is None if only time ends the search; `epochs` and `retrain_epochs` are None if the
    plan decides. `seconds_per_epoch` belongs to the default candidate. `on_features` means that the
    backbone runs once. `notes` lists remarks on the images, the class weights that a search would
    use, and the recipes that would be its first trials.
    """

    name: str
    description: str
    images: int
    image_shape: tuple[int, int, int]
    parameters: Mapping[str, BaseDistribution]
    default: Sizing
    smallest: Sizing
    largest: Sizing
    plan: TimePlan
    trials: int | None
    epochs: int | None
    retrain_epochs: int | None
    seconds_per_epoch: float
    development_share: float
    on_features: bool = False
    notes: tuple[str, ...] = ()

    @property
    def search_seconds(self) -> float | None:
        """The search's predicted seconds without pruning, limited by the plan; None if unknown."""
        expected = None
        if self.trials is not None and self.epochs is not None:
            expected = self.trials * self.epochs * self.seconds_per_epoch
        elif self.trials is not None and self.plan.trial_seconds is not None:
            expected = self.trials * self.plan.trial_seconds
        bounds = [value for value in (expected, self.plan.search_seconds) if value is not None]
        return min(bounds, default=None)

    @property
    def retrain_seconds(self) -> float | None:
        """The final training's seconds; with a length in epochs, for the default candidate."""
        if self.retrain_epochs is None:
            return self.plan.retraining_seconds
        return self.retrain_epochs * self.seconds_per_epoch * self.development_share

    def as_data(self) -> dict[str, Any]:
        """Returns what the text says as plain values for JSON.

        `search_space` holds Optuna's own JSON of each distribution. Values that are unknown or
        unlimited are None.
        """
        height, width, _ = self.image_shape
        return {
            "study": self.name,
            "description": self.description,
            "search_space": {
                name: json.loads(distribution_to_json(found))
                for name, found in self.parameters.items()
            },
            "notes": list(self.notes),
            "default_candidate": self.default.as_data(),
            "smallest_candidate": self.smallest.as_data(),
            "largest_candidate": self.largest.as_data(),
            "images": self.images,
            "image_height_pixels": height,
            "image_width_pixels": width,
            "trials": self.trials,
            "epochs_per_trial": self.epochs if self.plan.trial_seconds is None else None,
            "predicted_search_seconds": self.search_seconds,
            "retraining_epochs": self.retrain_epochs,
            "predicted_retraining_seconds": self.retrain_seconds,
            "time_plan": self.plan.model_dump(mode="json", include=_TIMES),
            "frozen_backbone_runs_once": self.on_features,
        }

    def __str__(self) -> str:
        width = max(map(len, self.parameters), default=0)
        height, across, _ = self.image_shape
        trials = "as many trials as fit" if self.trials is None else f"{self.trials} trials"
        length = (
            f"of {self.epochs} epochs"
            if self.plan.trial_seconds is None
            else f"of {duration(self.plan.trial_seconds)} of training"
        )
        retraining = "" if self.retrain_epochs is None else f"{self.retrain_epochs} epochs: "
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
                f"default candidate:        {_describe(self.default)}",
                f"smallest candidate found: {_describe(self.smallest)}",
                f"largest candidate found:  {_describe(self.largest)}",
                "",
                f"search: {trials} {length} on {self.images:,} images of {height}x{across} pixels: "
                f"about {_time(self.search_seconds)} without pruning",
                f"final training: {retraining}about {_time(self.retrain_seconds)}",
                f"time plan: {self.plan.describe()}",
                _PREDICTED,
                *([_ON_FEATURES] if self.on_features else []),
            ]
        )


def describe_study(
    study: str | Path | Space | StudySpec | LoadedStudy,
    *,
    data: Data = None,
    budget: Budget | float | None = None,
    trials: int | None = None,
    metric: Metric | None = None,
    class_weights: ClassWeights | Literal["auto"] | None = None,
    seed: int = 0,
    warm_start: Literal["recipes"] | None = None,
    compute: Compute = Compute(),
    places: Places | str | Path = Places(),
) -> DryRun:
    """Describes a study on some data: its space, its extremes, their cost, and the time plan.

    Costs are predicted from shapes and the measured speed of this machine; no candidate is trained
    and nothing is stored. Raises UserError for bad input.
    """
    from search.optimize.warm_start import enqueue_recipes
    from search.pipeline import load_split, require_data
    from search.training.features.source import FeatureSource

    loaded = load_study(study)
    spec, budget, places = loaded.spec, Budget.of(budget, trials=trials), Places.of(places)
    source = require_data(spec, data)
    feasibility.gpu_memory()
    start_keras()
    split, plan = plan_run(
        spec,
        budget,
        load=lambda size: load_split(source.sized(size), seed=seed),
        sized=source.image_size is not None,
        compute=compute,
        spent_seconds=lambda: 0.0,
        source=loaded.source,
    )
    speed = measured_speed(compute, known=plan.speed)
    features = FeatureSource(split, limit=places.cache_limit)
    default = default_candidate(spec, plan.task, inputs=split.spec)
    smallest, largest = _extremes(spec, split, plan)
    notes = _Notes()
    for note in split.notes:
        notes.note(note)
    _, reason = choose_class_weights(
        class_weights or spec.class_weights,
        metric=metric or spec.metric,
        counts=split.train.class_counts(split.spec.classes),
    )
    if reason:
        notes.note(reason)
    for text in loaded.warnings:
        notes.warning(text)
    if warm_start == "recipes":
        enqueue_recipes(optuna.create_study(), spec, notes)
    cost = _cost(default, split, speed, features)
    return DryRun(
        name=spec.name,
        description=spec.description,
        images=len(split.train),
        image_shape=split.spec.image_shape,
        parameters=parameters(lambda trial: spec.candidate(trial, plan.task), draws=spec.probes),
        default=_size(default, split, speed, features),
        smallest=_size(smallest, split, speed, features),
        largest=_size(largest, split, speed, features),
        plan=plan,
        trials=budget.trials
        or plan.trials
        or (spec.trials if plan.search_seconds is None else None),
        epochs=spec.epochs,
        retrain_epochs=budget.completed_by(spec).retraining_epochs,
        seconds_per_epoch=cost.step_seconds * len(split.train) / cost.step_images,
        development_share=len(split.development) / len(split.train),
        on_features=features.suits(smallest) and features.suits(largest),
        notes=tuple(notes.texts),
    )


class _Notes(Progress):
    """Collects notes instead of showing them."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def handle(self, event: Event) -> None:
        if isinstance(event, Note):
            self.texts.append(event.text)


def _extremes(spec: StudySpec, split: "Split", plan: TimePlan) -> tuple[Candidate, Candidate]:
    sized: list[tuple[int, Candidate]] = []
    problem: InfeasibleError | None = None
    draws = min(4, spec.probes)
    for _, candidate in explore(lambda trial: spec.candidate(trial, plan.task), draws=draws):
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


def _cost(
    candidate: Candidate, split: "Split", speed: MachineSpeed, features: "FeatureSource"
) -> TrainingCost:
    last = candidate.phases()[-1].candidate
    shape = describe_model(last.model, split.spec)
    return predict_cost(
        shape,
        last.training,
        speed,
        images=len(split.train),
        on_features=features.suits(candidate),
    )


def _size(
    candidate: Candidate, split: "Split", speed: MachineSpeed, features: "FeatureSource"
) -> Sizing:
    shape = describe_model(candidate.model, split.spec)
    cost = _cost(candidate, split, speed, features)
    memory = feasibility.estimate_memory(
        shape, candidate.training, images=max(len(split.train), len(split.validation))
    )
    problem = None
    try:
        feasibility.require_memory(memory)
    except InfeasibleError as error:
        problem = str(error)
    return Sizing(
        summary=candidate.summary(),
        parameters=shape.parameters,
        multiply_accumulates=shape.multiply_accumulates,
        memory_bytes=memory,
        images_per_second=cost.step_images / cost.step_seconds,
        problem=problem,
    )


def _describe(sizing: Sizing) -> str:
    text = (
        f"{sizing.parameters:,} parameters, {sizing.multiply_accumulates / 1e6:,.1f} million "
        f"multiply-accumulates, about {sizing.memory_bytes / feasibility.MEBIBYTE:,.0f} MiB of "
        f"memory, "
    )
    if sizing.problem is not None:
        return f"{text}infeasible here: {sizing.problem} [{sizing.summary}]"
    return f"{text}about {sizing.images_per_second:,.0f} images/s [{sizing.summary}]"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)
