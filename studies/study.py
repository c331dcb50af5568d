"""The definition of a study, and how to load one; nothing runs here."""

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt

from cnn_blocks.config import Configuration
from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from cnn_blocks.pretrained import Pretrained
from cnn_blocks.source_files import load_source
from spaces.backbones import backbone_names, parse_backbone
from spaces.candidate import Candidate
from spaces.probe import Space
from spaces.suggest import Trial
from spaces.task import Task

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


# Parameters of trials, or a function of the task that returns them.
Parameters: TypeAlias = tuple[Mapping[str, Any], ...] | Callable[..., Sequence[Mapping[str, Any]]]


def tree_parzen_sampler(seed: int) -> "BaseSampler":
    """Returns the default sampler: multivariate TPE, grouped to model conditional parameters."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        # `group` is experimental; without it conditional parameters are sampled independently.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=8)


def successive_halving_pruner(first_rung: int) -> "BasePruner":
    """Returns the default pruner: asynchronous successive halving that keeps the best half.

    `first_rung` is the step at which trials are first compared (Li et al., 2018).
    """
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=2)


class StudySpec(Configuration):
    """An experiment: its space, data, metric, sampler, pruner and budget.

    By default, candidates are compared at equal training time: every trial trains for the same
    number of seconds and runs its whole learning-rate schedule in them, so a network twice as fast
    takes twice the steps. This estimates what each candidate would reach in the time of the final
    training. With `epochs`, all trials train for that many epochs instead, whatever they cost.

    Attributes:
        name: The study's name, also in the storage.
        description: What it searches, in one line.
        space: Maps a trial to a candidate; the study sets how long the candidate trains. If it has
            a keyword argument `task`, it receives the size and number of the images.
        fixes: What the space keeps fixed, in words.
        expected: The result to expect, with data and time, in words.
        data: The data to use if the command gives none.
        metric: Ranks the trials on the validation images.
        class_weights: The class weights of every candidate. "auto" sets weights for imbalanced
            classes if the metric benefits; otherwise, as with None, the space decides.
        trials: The number of finished trials in a full search.
        budget_seconds: Wall-clock seconds of a whole run, search and final training together;
            None for the default of half an hour.
        epochs: Epochs of an unpruned trial; None lets the time plan decide.
        retrain_epochs: Epochs of the winner's final training; None lets the time plan decide.
        reports_per_epoch: With `epochs`, a step of the study is one epoch divided by this number.
        sampler: Creates the sampler from a seed.
        pruner: Creates the pruner from the first step at which a trial may be pruned.
        first_rung: With `epochs`, the epochs before a trial may be pruned.
        most_parameters: A network with more is infeasible; this is checked before allocation.
        start: Known good parameters for the first trials, or a function of the task (and of the
            keyword `backbones`) that returns them. The first is the study's default candidate.
        variations: Changes to the best candidate so far, tried in this order after `start` and
            before the sampler's suggestions, or a function of the task that returns them.
        workers: The number of processes that run trials; "auto" measures the best number, 0 runs
            trials in the command's own process.
        backbones: The pretrained backbones that the space chooses from; `--backbone` replaces them.
        takes_backbones: Whether `--backbone` is allowed although `backbones` is empty.
        probes: The number of candidates of each kind (random, smallest, largest) drawn to explore
            the space; keep it low if the space is slow.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    description: str
    space: Space
    fixes: str = ""
    expected: str = ""
    data: str | None = None
    metric: Literal[
        "accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision", "loss"
    ] = "accuracy"
    class_weights: Literal["auto", "none", "square_root", "balanced"] | None = "auto"
    trials: PositiveInt = 50
    budget_seconds: Annotated[float, Field(gt=0)] | None = None
    epochs: PositiveInt | None = None
    retrain_epochs: PositiveInt | None = None
    reports_per_epoch: PositiveInt = 2
    sampler: Callable[[int], Any] = tree_parzen_sampler
    pruner: Callable[[int], Any] = successive_halving_pruner
    first_rung: PositiveInt = 1
    most_parameters: PositiveInt | None = None
    start: Parameters = ()
    variations: Parameters = ()
    workers: NonNegativeInt | Literal["auto"] = "auto"
    backbones: tuple[Pretrained, ...] = ()
    takes_backbones: bool = False
    probes: PositiveInt = 24

    def candidate(self, trial: Trial, task: Task | None = None) -> Candidate:
        """Maps a trial to the candidate that this study trains for a task."""
        space: Callable[..., Candidate] = self.space
        options: dict[str, Any] = {"backbones": self.backbones} if self.backbones else {}
        if task is not None and self.adapts:
            options["task"] = task
        candidate = space(trial, **options)
        changes: dict[str, Any] = {} if self.epochs is None else {"epochs": self.epochs}
        if self.class_weights not in (None, "auto"):
            changes["class_weights"] = self.class_weights
        return candidate.with_training(**changes) if changes else candidate

    @property
    def adapts(self) -> bool:
        """Whether the space takes the task and adapts its networks to it."""
        return "task" in inspect.signature(self.space).parameters

    def first_trials(self, task: Task) -> tuple[Mapping[str, Any], ...]:
        """Returns the parameters of the first trials for a task."""
        return self._told(self.start, task)

    def later_trials(self, task: Task) -> tuple[Mapping[str, Any], ...]:
        """Returns the changes to the best candidate that are tried next for a task."""
        return self._told(self.variations, task)

    def _told(self, parameters: Parameters, task: Task) -> tuple[Mapping[str, Any], ...]:
        if not callable(parameters):
            return parameters
        takes = "backbones" in inspect.signature(parameters).parameters
        return tuple(parameters(task, **({"backbones": self.backbones} if takes else {})))

    def make_pruner(self) -> "BasePruner":
        """Returns the pruner, set to this study's steps."""
        pruner: BasePruner = self.pruner(self.first_rung * self.reports_per_epoch)
        return pruner


@dataclass(frozen=True)
class LoadedStudy:
    """A study and the file or module that defines it; `source` is None for a shipped study.

    `warnings` are messages for the user before the study runs. `command` is the command line that
    runs it, if one does.
    """

    spec: StudySpec
    source: str | None
    warnings: tuple[str, ...] = ()
    command: str | None = None

    def with_backbones(self, names: Sequence[str]) -> "LoadedStudy":
        """Returns this study with other backbones, named as on the command line.

        No names change nothing. The single name "none" disables backbones in a study that does not
        require them.

        Raises UserError for a study that takes no backbones, and for an unknown network or file.
        """
        if not names:
            return self
        if list(names) == ["none"] and not self.spec.backbones:
            alone = {"backbones": (), "takes_backbones": False}
            return replace(self, spec=self.spec.model_copy(update=alone))
        if not (self.spec.backbones or self.spec.takes_backbones):
            takers = [
                spec.name for spec in list_studies() if spec.backbones or spec.takes_backbones
            ]
            raise UserError(
                f"A backbone needs a study that takes one ({', '.join(takers)}); "
                f"{self.spec.name!r} builds its own. Fix: leave out --backbone, or choose one of "
                f"these studies."
            )
        backbones = tuple(parse_backbone(name) for name in names)
        backbone_names(backbones)  # raises if two names are equal
        return replace(self, spec=self.spec.model_copy(update={"backbones": backbones}))


def shipped_studies() -> dict[str, str]:
    """Returns the modules of the shipped studies by name."""
    package = importlib.import_module("studies.shipped")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: f"{package.__name__}.{name}" for name in names}


def list_studies() -> list[StudySpec]:
    """Returns the shipped studies."""
    return [load_study(name).spec for name in shipped_studies()]


def study_of_space(space: Space) -> StudySpec:
    """Returns a study of a bare function that maps a trial to a candidate."""
    name = getattr(space, "__name__", "")
    documentation = (inspect.getdoc(space) or "").splitlines()
    return StudySpec(
        name=name if name.isidentifier() else "search",
        description=documentation[0] if documentation else "A space of one's own.",
        space=space,
        workers=0,
    )


def load_study(reference: str | Path | Space | StudySpec | LoadedStudy) -> LoadedStudy:
    """Returns a shipped study by name, or the user's study from a .py file that defines `study`.

    A function is the space of a study that has no other settings of its own.

    Raises UserError for an unknown name, a missing file, or a file without a `study`.
    """
    if isinstance(reference, LoadedStudy):
        return reference
    if isinstance(reference, StudySpec):
        return LoadedStudy(reference, None)
    if callable(reference):
        return LoadedStudy(study_of_space(reference), None)
    text = str(reference)
    shipped = shipped_studies()
    if text in shipped:
        return LoadedStudy(importlib.import_module(shipped[text]).study, None)
    if not text.endswith(".py"):
        close = difflib.get_close_matches(text, shipped, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(
            f"A study must be one of {', '.join(shipped)}, or a .py file that defines `study`; "
            f"received {text!r}.{hint}"
        )
    module = load_source(text)
    spec = getattr(module, "study", None)
    if not isinstance(spec, StudySpec):
        raise UserError(
            f"A study's file must define `study = StudySpec(...)`; {text} defines "
            f"{'no `study`' if spec is None else f'`study` as {type(spec).__name__}'}."
        )
    return LoadedStudy(spec, str(user_path(text).resolve()))
