"""The winner's full training on train and validation images, and everything that follows it."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_blocks.errors import UserError
from search.clock import Clock
from search.configuration_file import BestConfiguration, read_configuration
from search.files import only_one
from search.progress import Progress

if TYPE_CHECKING:
    import keras

    from search.data import Split
    from search.evaluate import Evaluation
    from search.features import FeatureSource
    from search.runtime import Precision, Xla
    from search.training import FitResult
    from spaces.candidate import Candidate

_PLAN = "retraining.json"
_CHECKPOINTS = "checkpoints"
_METRICS = "metrics.json"
# A budget also pays for compiling the first step, the evaluation and the files.
_SPARE_SECONDS = 15.0
_SPARE_SHARE = 0.05
_STEPS_TO_MEASURE = 20


@dataclass(frozen=True, eq=False)
class RunOutput:
    """A finished run: the retrained model, its scores on the test images, and where it all is."""

    directory: Path
    configuration: BestConfiguration
    model: "keras.Model"
    evaluation: "Evaluation"
    metrics: dict[str, Any]
    data: str
    clock: Clock

    def summary(self, *, storage: str | None = None) -> str:
        """Returns what a person reads at the end; `storage` is the URL of the study's database."""
        from search.summary import summarize

        return summarize(self, storage=storage)


def retrain(
    configuration: BestConfiguration,
    split: "Split",
    *,
    directory: str | Path,
    epochs: int | None = None,
    budget_seconds: float | None = None,
    images_per_second: float | None = None,
    hold_out: bool = False,
    precision: "Precision" = "auto",
    xla: "Xla" = "auto",
    progress: Progress | None = None,
    clock: Clock | None = None,
    features: "FeatureSource | None" = None,
) -> "FitResult":
    """Trains a configuration on all training and validation images for a fixed number of epochs.

    The learning-rate schedule spans exactly these epochs and nothing looks at validation images;
    with `hold_out` these are held out instead, for early stopping and plateaus, as in a trial.
    `budget_seconds` bounds the epochs by the expected speed: `images_per_second`, or a short
    measurement; without `epochs` the budget is filled. Without either the configuration's own
    epochs count. Behind a frozen backbone the head trains on `features`, where they are given. An
    interrupted call continues from its last epoch when it is repeated with the same arguments.
    """
    from search.training import fit

    progress, directory = progress or Progress(), Path(directory)
    training = configuration.candidate.training
    images = split.train if hold_out else split.development

    def plan_epochs() -> int:
        if budget_seconds is None:
            return epochs or configuration.epochs or training.epochs
        speed = images_per_second or _measure_speed(configuration, split, precision, xla, features)
        fitting = epochs_within(budget_seconds, len(images), speed)
        return fitting if epochs is None else min(fitting, epochs)

    identity = _identity(configuration, split, epochs, budget_seconds)
    planned = _plan(directory, identity, plan_epochs)
    if hold_out:
        candidate = configuration.candidate.with_training(epochs=planned)
    else:
        candidate = configuration.candidate.for_retraining(planned)
    for change in _changes(configuration.candidate, candidate):
        progress.note(change)
    progress.retraining_started(epochs=planned, images=len(images), summary=candidate.summary())
    started = time.monotonic()
    result = fit(
        candidate,
        images,
        spec=split.spec if hold_out else split.development_spec,
        validation=split.validation if hold_out else None,
        seed=configuration.seed,
        checkpoint_directory=directory / _CHECKPOINTS,
        precision=precision,
        xla=xla,
        clock=clock,
        features=features,
        on_progress=lambda epoch, epochs, metrics: progress.retraining_progress(
            epoch=epoch, epochs=epochs, metrics=metrics
        ),
        on_warning=progress.warning,
    )
    progress.retraining_finished(seconds=time.monotonic() - started)
    return result


def finish_run(
    configuration: BestConfiguration,
    split: "Split",
    *,
    directory: str | Path,
    epochs: int | None = None,
    budget_seconds: float | None = None,
    images_per_second: float | None = None,
    hold_out: bool = False,
    precision: "Precision" = "auto",
    xla: "Xla" = "auto",
    progress: Progress | None = None,
    clock: Clock | None = None,
    features: "FeatureSource | None" = None,
    record_opening: Callable[[dict[str, Any]], None] | None = None,
    search_curve: Sequence[tuple[float, float]] = (),
) -> RunOutput:
    """Retrains a configuration, evaluates it once on the test images and writes all files.

    `record_opening` is told before the test images are opened; metrics.json holds the same
    record. The remaining arguments are those of `retrain` and `search.export.export_run`.
    """
    from search.environment import environment_record
    from search.evaluate import evaluate
    from search.export import export_run
    from search.runtime import start_keras

    directory, clock = Path(directory), clock or Clock()
    with clock.measure("compiling"):
        start_keras()
    result = retrain(
        configuration,
        split,
        directory=directory,
        epochs=epochs,
        budget_seconds=budget_seconds,
        images_per_second=images_per_second,
        hold_out=hold_out,
        precision=precision,
        xla=xla,
        progress=progress,
        clock=clock,
        features=features,
    )
    with clock.measure("validation"):
        test = split.open_test("final evaluation", record_opening or (lambda opening: None))
        evaluation = evaluate(result.model, test, split.dataset.class_names)
    # What stands beside a model describes that model, whatever the configuration left open.
    made = {
        "epochs": result.best_epoch,
        "image_size": split.dataset.image_shape[:2],
        "class_names": split.dataset.class_names,
    }
    configuration = configuration.model_copy(update=made)
    images = len(split.train if hold_out else split.development)
    metrics = _metrics(configuration, split, result, clock, images=images)
    with clock.measure("other"):
        export_run(
            directory,
            model=result.model,
            configuration=configuration,
            history=result.history,
            evaluation=evaluation,
            test=test,
            metrics=metrics,
            environment=environment_record(
                split, seed=configuration.seed, precision=precision, xla=xla
            ),
            search_curve=search_curve,
        )
    _forget_checkpoints(directory)
    return RunOutput(
        directory=directory,
        configuration=configuration,
        model=result.model,
        evaluation=evaluation,
        metrics={**metrics, "test": evaluation.metrics()},
        data=str(split.dataset.source),
        clock=clock,
    )


def retrain_from_configuration(
    path: str | Path,
    *,
    data: str | Path,
    directory: str | Path | None = None,
    runs_directory: str | Path = "runs",
    epochs: int | None = None,
    budget_seconds: float | None = None,
    seed: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    max_bad_files: float = 0.01,
    precision: "Precision" = "auto",
    xla: "Xla" = "auto",
    cache_limit: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> RunOutput:
    """Rebuilds a winner from its configuration file alone, trains it on `data` and exports it.

    No study database is needed or touched. Without `directory` the files go to a new folder
    below `runs_directory`, or to the one where the same retraining was interrupted.
    """
    from search.data import load_data, split_data
    from search.features import FeatureSource

    progress, clock = progress or Progress(), clock or Clock()
    configuration = read_configuration(path)
    if seed is not None:
        configuration = configuration.model_copy(update={"seed": seed})
    with clock.measure("data"):
        dataset = load_data(
            data, image_size=image_size or configuration.image_size, max_bad_files=max_bad_files
        )
        split = split_data(dataset, seed=configuration.seed)
    for note in dataset.notes:
        progress.note(note)
    if configuration.class_names and configuration.class_names != dataset.class_names:
        progress.warning(
            f"{path} was found on {len(configuration.class_names)} other classes; the network is "
            f"rebuilt for the {len(dataset.class_names)} of {data}."
        )
    if directory is None:
        directory = run_directory(
            Path(runs_directory) / (configuration.study or Path(path).stem),
            configuration,
            split,
            epochs=epochs,
            budget_seconds=budget_seconds,
        )
    return finish_run(
        configuration,
        split,
        directory=directory,
        epochs=epochs,
        budget_seconds=budget_seconds,
        precision=precision,
        xla=xla,
        progress=progress,
        clock=clock,
        features=FeatureSource(split, limit=cache_limit, progress=progress),
    )


@contextmanager
def only_retraining(
    parent: str | Path,
    configuration: BestConfiguration,
    split: "Split",
    *,
    epochs: int | None = None,
    budget_seconds: float | None = None,
) -> Iterator[Path | None]:
    """Yields the folder of this retraining; None while another process is at the same one."""
    identity = _identity(configuration, split, epochs, budget_seconds)
    # Not in the folder itself: of two processes that begin at once, each would make its own.
    with only_one(Path(parent) / f"retraining-{identity[:12]}.lock") as first:
        yield (
            run_directory(
                parent, configuration, split, epochs=epochs, budget_seconds=budget_seconds
            )
            if first
            else None
        )


def run_directory(
    parent: str | Path,
    configuration: BestConfiguration,
    split: "Split",
    *,
    epochs: int | None = None,
    budget_seconds: float | None = None,
) -> Path:
    """Returns the folder of this retraining: the one where it was interrupted, else a new one.

    New folders are named after the time (UTC), so that they sort by it.
    """
    parent = Path(parent)
    identity = _identity(configuration, split, epochs, budget_seconds)
    for plan in sorted(parent.glob(f"*/{_PLAN}"), reverse=True):
        unfinished = not (plan.parent / _METRICS).exists()
        if unfinished and _read_plan(plan).get("identity") == identity:
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


def epochs_within(budget_seconds: float, images: int, images_per_second: float) -> int:
    """Returns how many epochs over `images` fit into a budget at a speed, at least one."""
    usable = budget_seconds * (1 - _SPARE_SHARE) - _SPARE_SECONDS
    return max(1, int(usable * images_per_second / images))


def _measure_speed(
    configuration: BestConfiguration,
    split: "Split",
    precision: "Precision",
    xla: "Xla",
    features: "FeatureSource | None",
) -> float:
    from search.training import fit

    training = configuration.candidate.training
    images = min(len(split.development), training.batch_size * _STEPS_TO_MEASURE)
    some = replace(split.development, indices=split.development.indices[:images])
    result = fit(
        configuration.candidate.for_retraining(1),
        some,
        spec=split.development_spec,
        validation=None,
        seed=configuration.seed,
        precision=precision,
        xla=xla,
        features=features,
    )
    return result.images_per_second


def _identity(
    configuration: BestConfiguration,
    split: "Split",
    epochs: int | None,
    budget_seconds: float | None,
) -> str:
    parts = [
        configuration.candidate.to_json(),
        configuration.seed,
        configuration.epochs,
        epochs,
        budget_seconds,
        split.dataset.fingerprint,
        split.sha256,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _plan(directory: Path, identity: str, epochs: Callable[[], int]) -> int:
    """Returns the epochs of the plan that stands in a directory, or makes that plan.

    An interrupted retraining must keep its epochs, even if the speed is measured anew.
    """
    from search.export import write_json

    path = directory / _PLAN
    if path.exists():
        plan = _read_plan(path)
        if plan.get("identity") != identity:
            raise UserError(
                f"A folder holds one retraining; {directory} has another one. Choose another "
                f"folder, or delete that one."
            )
        return int(plan["epochs"])
    plan = {"identity": identity, "epochs": epochs()}
    write_json(path, plan)
    return int(plan["epochs"])


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} must hold the plan of a retraining; {error}. Delete its folder."
        ) from error
    return plan


def _forget_checkpoints(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory / _CHECKPOINTS, ignore_errors=True)
    (directory / _PLAN).unlink(missing_ok=True)
    # Halves of files, from attempts that were killed while they wrote them (`whole_file`).
    for half in directory.glob(".*.[0-9]*.*"):
        half.unlink(missing_ok=True)


def _changes(before: "Candidate", after: "Candidate") -> list[str]:
    changes = []
    if before.training.schedule != after.training.schedule:
        changes.append(
            f"Retraining has no validation images: the schedule {before.training.schedule!r} "
            f"becomes {after.training.schedule!r}."
        )
    if before.training.early_stopping is not None:
        changes.append("Retraining has no validation images: early stopping is off.")
    return changes


def _metrics(
    configuration: BestConfiguration,
    split: "Split",
    result: "FitResult",
    clock: Clock,
    *,
    images: int,
) -> dict[str, Any]:
    # The weights are those of the best epoch, which is the last one unless training stopped early.
    best: Mapping[str, Any] = result.history[result.best_epoch - 1]
    return {
        "format_version": 1,
        "study": configuration.study,
        "trial": configuration.trial,
        "recipe": _published(configuration),
        "search": {"metric": configuration.metric, "value": configuration.value},
        "retraining": {
            "images": images,
            "epochs": result.epochs_trained,
            # Of all epochs: the result's own seconds start at the last resumption.
            "seconds": sum(row["seconds"] for row in result.history),
            "images_per_second": result.images_per_second,
            "parameters": result.parameters,
            "best_epoch": result.best_epoch,
            **{name: best[name] for name in best if name.endswith(("loss", "accuracy", "_f1"))},
        },
        "test_openings": list(split.openings),
        "seconds_by_activity": dict(clock.seconds),
    }


def _published(configuration: BestConfiguration) -> dict[str, Any] | None:
    from spaces.recipes import RECIPES

    recipe = RECIPES.get(configuration.recipe or "")
    return None if recipe is None else {"name": recipe.name, "published": dict(recipe.published)}


if __name__ == "__main__":
    from search.cli import main

    main("retrain")
