"""The winner's full training on train and validation images, and everything that follows it."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.clock import Clock
from search.configuration_file import BestConfiguration, read_configuration
from search.progress import Progress
from search.results import RunOutput
from search.retraining import (
    CHECKPOINTS,
    Retraining,
    planned_epochs,
    remove_leftovers,
    run_directory,
)

if TYPE_CHECKING:
    from search.runtime import Precision, Xla
    from search.training import FitResult
    from spaces.candidate import Candidate


def retrain(retraining: Retraining, directory: Path) -> "FitResult":
    """Trains a configuration for a fixed number of epochs, with its checkpoints in a folder.

    The learning-rate schedule spans exactly these epochs, and nothing looks at validation images
    unless they are held out. An interrupted call continues from its last epoch when it is repeated
    with an equal retraining.
    """
    from search.training import fit

    configuration, split = retraining.configuration, retraining.split
    progress, hold_out = retraining.progress, retraining.hold_out
    planned = planned_epochs(directory, retraining)
    if hold_out:
        candidate = configuration.candidate.with_training(epochs=planned)
    else:
        candidate = configuration.candidate.for_retraining(epochs=planned)
    for change in _changes(configuration.candidate, candidate):
        progress.note(change)
    progress.retraining_started(
        epochs=planned, images=len(retraining.images), summary=candidate.summary()
    )
    started = time.monotonic()
    result = fit(
        candidate,
        retraining.images,
        spec=split.spec if hold_out else split.development_spec,
        validation=split.validation if hold_out else None,
        seed=configuration.seed,
        checkpoint_directory=directory / CHECKPOINTS,
        precision=retraining.precision,
        xla=retraining.xla,
        clock=retraining.clock,
        features=retraining.features,
        on_progress=lambda epoch, epochs, metrics: progress.retraining_progress(
            epoch=epoch, epochs=epochs, metrics=metrics
        ),
        on_warning=progress.warning,
    )
    progress.retraining_finished(seconds=time.monotonic() - started)
    return result


def finish_run(
    retraining: Retraining,
    directory: Path,
    *,
    record_opening: Callable[[dict[str, Any]], None] = lambda opening: None,
    search_curve: Sequence[tuple[float, float]] = (),
) -> RunOutput:
    """Retrains a configuration, evaluates it once on the test images and writes all files.

    `record_opening` is told before the test images are opened; metrics.json holds the same
    record. `search_curve` is that of `search.export.export_run`.
    """
    from search.environment import environment_record
    from search.evaluate import evaluate
    from search.export import export_run
    from search.runtime import start_keras

    split, clock = retraining.split, retraining.clock
    with clock.measure("compiling"):
        start_keras()
    result = retrain(retraining, directory)
    with clock.measure("validation"):
        test = split.open_test("final evaluation", record_opening)
        evaluation = evaluate(result.model, test, split.dataset.class_names)
    # What stands beside a model describes that model, whatever the configuration left open.
    made = {
        "epochs": round(result.best["epoch"]),
        "image_size": split.dataset.image_shape[:2],
        "class_names": split.dataset.class_names,
    }
    configuration = retraining.configuration.model_copy(update=made)
    metrics = _metrics(retraining, result)
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
                split,
                seed=configuration.seed,
                precision=retraining.precision,
                xla=retraining.xla,
            ),
            search_curve=search_curve,
        )
    remove_leftovers(directory)
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
    retraining = Retraining(
        configuration=configuration,
        split=split,
        epochs=epochs,
        budget_seconds=budget_seconds,
        precision=precision,
        xla=xla,
        features=FeatureSource(split, limit=cache_limit, progress=progress),
        progress=progress,
        clock=clock,
    )
    if directory is None:
        parent = Path(runs_directory) / (configuration.study or Path(path).stem)
        directory = run_directory(parent, retraining)
    return finish_run(retraining, Path(directory))


def _changes(before: "Candidate", after: "Candidate") -> list[str]:
    changes = []
    if before.training.schedule != after.training.schedule:
        changes.append(
            f"Retraining has no validation images: the schedule {before.training.schedule!r} "
            f"becomes {after.training.schedule!r}."
        )
    if before.training.early_stopping != after.training.early_stopping:
        changes.append("Retraining has no validation images: early stopping is off.")
    return changes


def _metrics(retraining: Retraining, result: "FitResult") -> dict[str, Any]:
    configuration = retraining.configuration
    # The weights are those of the best epoch, which is the last one unless training stopped early.
    best: Mapping[str, Any] = result.best
    return {
        "format_version": 1,
        "study": configuration.study,
        "trial": configuration.trial,
        "recipe": _published(configuration),
        "search": {"metric": configuration.metric, "value": configuration.value},
        "retraining": {
            "images": len(retraining.images),
            "epochs": result.epochs_trained,
            # Of all epochs: the result's own seconds start at the last resumption.
            "seconds": sum(row["seconds"] for row in result.history),
            "images_per_second": result.images_per_second,
            "parameters": result.parameters,
            "best_epoch": best["epoch"],
            **{name: best[name] for name in best if name.endswith(("loss", "accuracy", "_f1"))},
        },
        "test_openings": list(retraining.split.openings),
        "seconds_by_activity": dict(retraining.clock.seconds),
    }


def _published(configuration: BestConfiguration) -> dict[str, Any] | None:
    from spaces.recipes import RECIPES

    recipe = RECIPES.get(configuration.recipe or "")
    return None if recipe is None else {"name": recipe.name, "published": dict(recipe.published)}


if __name__ == "__main__":
    from search.cli import main

    main("retrain")
