"""What a study is, and where it is found; nothing runs here."""

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


# Of trials, or a function of the task that gives them.
Parameters: TypeAlias = tuple[Mapping[str, Any], ...] | Callable[..., Sequence[Mapping[str, Any]]]


def tree_parzen_sampler(seed: int) -> "BaseSampler":
    """Returns the default sampler: multivariate TPE, grouped so that conditions are learnt too."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        # `group` is experimental; without it a conditional parameter is sampled on its own.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=8)


def successive_halving_pruner(first_rung: int) -> "BasePruner":
    """Returns the default pruner: asynchronous successive halving, the best half goes on.

    `first_rung` is the step at which trials are first compared (Li et al., 2018).
    """
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=2)


class StudySpec(Configuration):
    """An experiment: which space, data, metric, sampler, pruner and budget.

    Candidates are compared by what they reach in the final training's time, which is estimated by
    what they reach in a fixed part of it: every trial trains for the same seconds, with its whole
    learning-rate schedule within them, so that a network twice as fast takes twice the steps. With
    `epochs` trials train for equally many epochs instead, whatever these cost.

    Attributes:
        name: The study's name in the storage, too.
        description: One line: what it searches.
        space: Maps a trial to a candidate; the study sets how long the candidate trains. Its
            keyword argument `task`, if it has one, is told the images' size and number.
        fixes: What the space holds fixed, in words.
        expected: The result to expect, with data and time, in words.
        data: The data to use where the command names none.
        metric: What ranks the trials on the validation images.
        class_weights: Those of every candidate; "auto" weights unequal classes where the metric
            gains by it, and else leaves them, as None does, to the space.
        trials: How many finished trials make a whole search.
        budget_seconds: Wall-clock seconds of a whole run, search and final training together;
            None for the half hour that a run takes by default.
        epochs: Epochs of an unpruned trial; None lets the time plan decide.
        retrain_epochs: Epochs of the winner's final training; None lets the time plan decide.
        reports_per_epoch: With `epochs`, a study's step is one epoch over this number.
        sampler: Makes the sampler from a seed.
        pruner: Makes the pruner from the first step at which a trial may be pruned.
        first_rung: With `epochs`, the epochs before a trial may be pruned.
        most_parameters: A network with more is infeasible, before any of them is allocated.
        start: Parameters of the first trials, known to be good; a function of the task, and of
            the backbones by keyword, may say which. The first is the study's default candidate.
        variations: Changes to the best candidate so far, tried in this order after `start` and
            before the sampler's own suggestions; a function of the task may say which.
        workers: How many processes run trials; "auto" measures it, 0 is the command's own process.
        backbones: What a space of pretrained backbones chooses among; `--backbone` replaces them.
        takes_backbones: Whether `--backbone` may name some where `backbones` is empty.
        probes: Candidates of each kind (random, smallest, largest) that a look around the space
            takes; few where the space is slow to answer.
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
        """Maps a trial to the candidate that this study trains on a task."""
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
        """Whether the space is told the task, and adapts its networks to it."""
        return "task" in inspect.signature(self.space).parameters

    def first_trials(self, task: Task) -> tuple[Mapping[str, Any], ...]:
        """Returns the parameters of the first trials on a task."""
        return self._told(self.start, task)

    def later_trials(self, task: Task) -> tuple[Mapping[str, Any], ...]:
        """Returns the changes to the best candidate that are tried next on a task."""
        return self._told(self.variations, task)

    def _told(self, parameters: Parameters, task: Task) -> tuple[Mapping[str, Any], ...]:
        if not callable(parameters):
            return parameters
        takes = "backbones" in inspect.signature(parameters).parameters
        return tuple(parameters(task, **({"backbones": self.backbones} if takes else {})))

    def make_pruner(self) -> "BasePruner":
        """Returns the pruner, which counts in this study's steps."""
        pruner: BasePruner = self.pruner(self.first_rung * self.reports_per_epoch)
        return pruner


@dataclass(frozen=True)
class LoadedStudy:
    """A study and the file or module that it came from; `source` is None for a shipped one.

    `warnings` are what a person should know before it runs. `command` is the command line that
    runs it, if one does.
    """

    spec: StudySpec
    source: str | None
    warnings: tuple[str, ...] = ()
    command: str | None = None

    def with_backbones(self, names: Sequence[str]) -> "LoadedStudy":
        """Returns this study with other backbones, named as a person does; none changes nothing.

        "none" alone keeps a study that can do without from using any.

        Raises UserError for a study that takes none, and for an unknown network or file.
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
                f"A backbone may be chosen for a study that takes one ({', '.join(takers)}); "
                f"{self.spec.name!r} builds its own."
            )
        backbones = tuple(parse_backbone(name) for name in names)
        backbone_names(backbones)  # refuses two of one name
        return replace(self, spec=self.spec.model_copy(update={"backbones": backbones}))


def shipped_studies() -> dict[str, str]:
    """Returns the names of the shipped studies and their modules."""
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
    """Returns a shipped study by name, or a user's from a .py file that defines `study`.

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
