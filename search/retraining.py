"""A configuration's full training: on which images, for how many epochs, in which folder."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_blocks.errors import UserError
from search.clock import Clock
from search.configuration_file import BestConfiguration
from search.files import only_one
from search.progress import Progress

if TYPE_CHECKING:
    from search.data import Share, Split
    from search.features import FeatureSource
    from search.runtime import Precision, Xla

_PLAN = "retraining.json"
CHECKPOINTS = "checkpoints"
METRICS = "metrics.json"
# A budget also pays for compiling the first step, the evaluation and the files.
_SPARE_SECONDS = 15.0
_SPARE_SHARE = 0.05
_STEPS_TO_MEASURE = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Retraining:
    """Everything that a configuration's full training needs.

    It takes all training and validation images; with `hold_out` the validation images are held out
    for early stopping and plateaus, as in a trial. `budget_seconds` bounds the epochs by the
    expected speed: `images_per_second`, or a short measurement; without `epochs` the budget is
    filled. Without either the configuration's own epochs count. Behind a frozen backbone the head
    trains on `features`, where they are given.
    """

    configuration: BestConfiguration
    split: "Split"
    epochs: int | None = None
    budget_seconds: float | None = None
    images_per_second: float | None = None
    hold_out: bool = False
    precision: "Precision" = "auto"
    xla: "Xla" = "auto"
    features: "FeatureSource | None" = None
    progress: Progress = field(default_factory=Progress)
    clock: Clock = field(default_factory=Clock)

    @property
    def images(self) -> "Share":
        """The images that it trains on."""
        return self.split.train if self.hold_out else self.split.development

    @property
    def identity(self) -> str:
        """What an interrupted retraining and the one that continues it have in common."""
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
def only_retraining(parent: Path, retraining: Retraining) -> Iterator[Path | None]:
    """Yields the folder of this retraining; None while another process is at the same one."""
    # Not in the folder itself: of two processes that begin at once, each would make its own.
    with only_one(parent / f"retraining-{retraining.identity[:12]}.lock") as first:
        yield run_directory(parent, retraining) if first else None


def run_directory(parent: Path, retraining: Retraining) -> Path:
    """Returns the folder of this retraining: the one where it was interrupted, else a new one.

    New folders are named after the time (UTC), so that they sort by it.
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
        f"A run needs a new folder below {parent}; all names for {name} are taken. Run it again "
        f"in a second, or choose another --runs-directory."
    )


def planned_epochs(directory: Path, retraining: Retraining) -> int:
    """Returns the epochs of the plan that stands in a directory, or makes that plan.

    An interrupted retraining must keep its epochs, even if the speed is measured anew.
    """
    from search.export import write_json

    path = directory / _PLAN
    if path.exists():
        plan = _read_plan(path)
        if plan.get("identity") != retraining.identity:
            raise UserError(
                f"A folder holds one retraining; {directory} has another one. Choose another "
                f"folder, or delete that one."
            )
        return int(plan["epochs"])
    epochs = _choose_epochs(retraining)
    write_json(path, {"identity": retraining.identity, "epochs": epochs})
    return epochs


def remove_leftovers(directory: Path) -> None:
    """Removes from the folder of a finished retraining what only an interrupted one needs."""
    shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
    (directory / _PLAN).unlink(missing_ok=True)
    # Halves of files, from attempts that were killed while they wrote them (`whole_file`).
    for half in directory.glob(".*.[0-9]*.*"):
        half.unlink(missing_ok=True)


def epochs_within(budget_seconds: float, images: int, images_per_second: float) -> int:
    """Returns how many epochs over `images` fit into a budget at a speed, at least one."""
    usable = budget_seconds * (1 - _SPARE_SHARE) - _SPARE_SECONDS
    return max(1, int(usable * images_per_second / images))


def _choose_epochs(retraining: Retraining) -> int:
    configuration = retraining.configuration
    if retraining.budget_seconds is None:
        return retraining.epochs or configuration.epochs or configuration.candidate.training.epochs
    speed = retraining.images_per_second or _measure_speed(retraining)
    fitting = epochs_within(retraining.budget_seconds, len(retraining.images), speed)
    return fitting if retraining.epochs is None else min(fitting, retraining.epochs)


def _measure_speed(retraining: Retraining) -> float:
    from search.training import fit

    configuration, split = retraining.configuration, retraining.split
    images = min(
        len(split.development), configuration.candidate.training.batch_size * _STEPS_TO_MEASURE
    )
    result = fit(
        configuration.candidate.for_retraining(epochs=1),
        replace(split.development, indices=split.development.indices[:images]),
        spec=split.development_spec,
        validation=None,
        seed=configuration.seed,
        precision=retraining.precision,
        xla=retraining.xla,
        features=retraining.features,
    )
    return result.images_per_second


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} must hold the plan of a retraining; {error}. Delete its folder."
        ) from error
    return plan
