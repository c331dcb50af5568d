"""The plan of a configuration's full training: images, length and folder."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_blocks.errors import UserError
from search.progress.clock import Clock
from search.progress.events import Progress
from search.results.configuration_file import BestConfiguration
from search.system.locks import only_one
from search.system.runtime import Compute
from spaces.candidate import Candidate

if TYPE_CHECKING:
    from search.data import Split, Subset
    from search.training.features.source import FeatureSource

_PLAN = "retraining.json"
# The length of a training measured in steps, and how it is divided.
_LENGTH_IN_STEPS = ("steps", "fine_tuning")
CHECKPOINTS = "checkpoints"
METRICS = "metrics.json"
# Reserved from the budget for the evaluation and the files.
_SPARE_SECONDS = 5.0
_SPARE_SHARE = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Retraining:
    """Everything that a configuration's full training needs.

    It trains on all training and validation images; with `hold_out` the validation images are held
    out for early stopping and plateaus, as in a trial. `budget_seconds` limits its length, derived
    from the speed of its first steps; `seconds_left` then returns what is left of the budget.
    Without `epochs` it uses the budget as long as more training helps. Without either it trains for
    the configuration's own length. With a frozen backbone the head trains on `features`, if given.
    """

    configuration: BestConfiguration
    split: "Split"
    epochs: int | None = None
    budget_seconds: float | None = None
    seconds_left: Callable[[], float] | None = None
    hold_out: bool = False
    compute: Compute = Compute()
    features: "FeatureSource | None" = None
    progress: Progress = field(default_factory=Progress)
    clock: Clock = field(default_factory=Clock)

    @property
    def images(self) -> "Subset":
        """The images to train on."""
        return self.split.train if self.hold_out else self.split.development

    @property
    def on_features(self) -> bool:
        """Whether only a head is trained, on a frozen backbone's features."""
        return self.features is not None and self.features.suits(self.configuration.candidate)

    def remaining_seconds(self, spent: float) -> float:
        """Returns the seconds left of the budget for training, after `spent` seconds of it."""
        assert self.budget_seconds is not None
        if self.seconds_left is not None:
            return max(1.0, self.seconds_left())
        return max(1.0, self.budget_seconds * (1 - _SPARE_SHARE) - _SPARE_SECONDS - spent)

    @property
    def identity(self) -> str:
        """A hash that is equal for an interrupted retraining and the one that continues it."""
        parts = [
            self.configuration.candidate.to_json(),
            self.configuration.seed,
            self.configuration.epochs,
            self.epochs,
            self.budget_seconds,
            self.split.dataset.fingerprint,
            self.split.sha256,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def only_retraining(parent: Path, retraining: Retraining) -> Iterator[bool]:
    """Yields whether this process is the only one that runs this retraining."""
    # Not in the run's folder: two processes that start at once would each create their own.
    with only_one(parent / f"retraining-{retraining.identity[:12]}.lock") as first:
        yield first


def run_directory(parent: Path, retraining: Retraining) -> Path:
    """Returns the folder of this retraining: the one in which it was interrupted, else a new one.

    New folders are named after the current time (UTC), so they sort by time.
    """
    for plan in sorted(parent.glob(f"*/{_PLAN}"), reverse=True):
        unfinished = not (plan.parent / METRICS).exists()
        if unfinished and _read_plan(plan).get("identity") == retraining.identity:
            return plan.parent
    parent.mkdir(parents=True, exist_ok=True)
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    for number in range(1, 1000):
        directory = parent / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        return directory
    raise UserError(
        f"A run needs a new folder below {parent}; all names for {name} are taken. Fix: run it "
        f"again in a second, or choose another --runs-directory."
    )


def planned_length(directory: Path, retraining: Retraining) -> dict[str, Any]:
    """Returns the stored training settings that set the length; {} if none are stored yet.

    An interrupted retraining must keep its length, even if the machine's speed differs now.
    """
    path = directory / _PLAN
    if not path.exists():
        return {}
    plan = _read_plan(path)
    if plan.get("identity") != retraining.identity:
        raise UserError(
            f"A folder holds one retraining; {directory} has another one. Fix: choose another "
            f"folder, or delete that one."
        )
    if "steps" not in plan:
        return {"epochs": plan["epochs"], "steps": None}
    return {name: plan[name] for name in _LENGTH_IN_STEPS if name in plan}


def remember_length(directory: Path, retraining: Retraining, candidate: Candidate) -> None:
    """Stores a candidate's length, for a start that continues its retraining."""
    from search.results.files import write_json

    names = {"epochs"} if candidate.training.steps is None else set(_LENGTH_IN_STEPS)
    training = candidate.training.model_dump(mode="json", include=names, exclude_none=True)
    write_json(directory / _PLAN, {"identity": retraining.identity, **training})


def remove_leftovers(directory: Path) -> None:
    """Removes the files that only an interrupted retraining needs, once it has finished."""
    shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
    (directory / _PLAN).unlink(missing_ok=True)
    # Partial files from attempts that were killed while writing them (`whole_file`).
    for half in directory.glob(".*.[0-9]*.*"):
        half.unlink(missing_ok=True)


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} must hold the plan of a retraining; {error}. Fix: delete its folder."
        ) from error
    return plan
