"""The winner's full training on all training and validation images, its evaluation and export."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.progress.events import (
    RetrainingAdvanced,
    RetrainingFinished,
    RetrainingStarted,
)
from search.results.configuration_file import BestConfiguration
from search.results.plan import (
    CHECKPOINTS,
    Retraining,
    planned_length,
    remember_length,
    remove_leftovers,
)
from search.results.run_result import RunOutput
from search.sizing.time_plan import most_retraining_steps
from search.training.listener import Listener

if TYPE_CHECKING:
    from search.training import FitResult
    from spaces.candidate import Candidate

# The exported model's accuracy on this many training images is compared with that of training.
CHECKED_IMAGES = 1000
_MOST_LOST = 0.1
_SECONDS_EACH = 4.0
_FEWEST_INTERVALS = 5
_MOST_INTERVALS = 100
# Assumed for a training without a time budget.
_USUAL_SECONDS = 120.0


def retrain(retraining: Retraining, directory: Path) -> "FitResult":
    """Trains a configuration for a fixed length, with checkpoints below `directory`.

    The learning-rate schedule spans exactly this length. Validation images are only used as such if
    they are held out. After an interruption, a call with an equal retraining continues from the
    last checkpoint.
    """
    from search.training import fit
    from search.training.length import training_length

    configuration, split = retraining.configuration, retraining.split
    progress, hold_out = retraining.progress, retraining.hold_out
    candidate, seconds = _with_length(retraining, directory)
    if not hold_out:
        candidate = candidate.for_retraining()
    for change in _changes(configuration.candidate, candidate):
        progress.note(change)
    images = len(retraining.images)
    length = None if seconds else training_length(candidate.training, images)
    progress.handle(
        RetrainingStarted(
            epochs=0 if length is None else length.epochs,
            images=images,
            summary=candidate.summary(),
        )
    )
    started = time.monotonic()
    result = fit(
        candidate,
        retraining.images,
        spec=split.spec if hold_out else split.development_spec,
        validation=split.validation if hold_out else None,
        seed=configuration.seed,
        intervals=_intervals(retraining),
        seconds=seconds,
        most_steps=_most_steps(retraining),
        checkpoint_directory=directory / CHECKPOINTS,
        compute=retraining.compute,
        clock=retraining.clock,
        features=retraining.features,
        listener=_RetrainingListener(retraining, directory),
    )
    progress.handle(RetrainingFinished(seconds=time.monotonic() - started))
    if seconds and result.candidate.training.steps == _most_steps(retraining):
        progress.note(
            f"the final training ended after {result.epochs_trained:.3g} passes over its images: "
            f"more would not have helped, so the rest of the budget is not used"
        )
    return result


class _RetrainingListener(Listener):
    """Reports the progress of a retraining, and stores its length."""

    def __init__(self, retraining: Retraining, directory: Path) -> None:
        self._retraining = retraining
        self._directory = directory

    def on_length(self, candidate: "Candidate") -> None:
        remember_length(self._directory, self._retraining, candidate)

    def on_progress(self, epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        self._retraining.progress.handle(
            RetrainingAdvanced(epoch=epoch, epochs=epochs, metrics=metrics)
        )

    def on_warning(self, text: str) -> None:
        self._retraining.progress.warning(text)


def _with_length(
    retraining: Retraining, directory: Path
) -> tuple["Candidate", Callable[[], float] | None]:
    """Returns the candidate and the seconds that it may train; None if its length is set."""
    configuration = retraining.configuration
    candidate = configuration.candidate
    if length := planned_length(directory, retraining):
        return candidate.with_training(**length), None
    if retraining.budget_seconds is not None:
        began = time.monotonic()
        return candidate.with_training(steps=None), lambda: retraining.remaining_seconds(
            time.monotonic() - began
        )
    epochs = retraining.epochs or configuration.epochs
    if epochs is None and candidate.training.steps is None:
        epochs = candidate.training.epochs
    candidate = candidate.with_length(epochs=epochs)
    remember_length(directory, retraining, candidate)
    return candidate, None


def _intervals(retraining: Retraining) -> int:
    """Returns how often a training measured in steps is saved, reported and recorded."""
    seconds = retraining.budget_seconds or _USUAL_SECONDS
    return max(_FEWEST_INTERVALS, min(_MOST_INTERVALS, round(seconds / _SECONDS_EACH)))


def _most_steps(retraining: Retraining) -> int:
    from search.training.batches import steps_per_epoch

    candidate, images = retraining.configuration.candidate, len(retraining.images)
    if retraining.epochs is not None:
        return retraining.epochs * steps_per_epoch(images, candidate.training.batch_size)
    return most_retraining_steps(candidate, images, on_features=retraining.on_features)


def finish_run(
    retraining: Retraining,
    directory: Path,
    *,
    record_opening: Callable[[dict[str, Any]], None] = lambda opening: None,
    earlier_openings: Sequence[Mapping[str, Any]] = (),
    search_curve: Sequence[tuple[float, float]] = (),
) -> RunOutput:
    """Retrains a configuration, evaluates it once on the test images and writes all files.

    `record_opening` is called before the test images are opened. metrics.json holds the same
    record, after the study's `earlier_openings`. `search_curve` is passed to
    `search.results.files.export_run`.
    """
    from search.results.environment import environment_record
    from search.results.evaluate import evaluate
    from search.results.files import export_run
    from search.system.runtime import start_keras

    split, clock = retraining.split, retraining.clock
    with clock.measure("compiling"):
        start_keras()
    result = retrain(retraining, directory)
    with clock.measure("validation"):
        shipped = _training_accuracy(retraining, result)
    trained = result.best["accuracy"]
    if trained - shipped > _MOST_LOST:
        retraining.progress.warning(
            f"the exported model classifies {shipped:.1%} of its own training images correctly, "
            f"but training ended at {trained:.1%}: the export does not match what was trained. "
            f"Please report this with the run's best_config.yaml."
        )
    with clock.measure("validation"):
        test = split.open_test("final evaluation", record_opening)
        evaluation = evaluate(result.model, test, split.dataset.class_names)
    # The exported configuration describes this model, including what the original left open.
    made = {
        "epochs": None if result.candidate.training.steps else round(result.best["epoch"]),
        "candidate": _as_trained(retraining.configuration.candidate, result.candidate),
        "image_size": split.dataset.decoding.size,
        "fit": split.dataset.decoding.fit,
        "class_names": split.dataset.class_names,
    }
    configuration = retraining.configuration.model_copy(update=made)
    metrics = _metrics(
        retraining, result, training_accuracy=shipped, earlier_openings=earlier_openings
    )
    with clock.measure("other"):
        export_run(
            directory,
            model=result.model,
            configuration=configuration,
            history=result.history,
            evaluation=evaluation,
            test=test,
            decoding=split.dataset.decoding,
            metrics=metrics,
            environment=environment_record(
                split,
                seed=configuration.seed,
                compute=retraining.compute,
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
        layout=split.dataset.layout,
        clock=clock,
    )


def _as_trained(candidate: "Candidate", trained: "Candidate") -> "Candidate":
    """Returns the configuration's candidate with the length it was actually trained for."""
    training = trained.training
    if training.steps is None:
        return candidate
    return candidate.with_training(steps=training.steps, fine_tuning=training.fine_tuning)


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


def _training_accuracy(retraining: Retraining, result: "FitResult") -> float:
    """Returns the exported model's accuracy, in 0..1, on a sample of its own training images."""
    from search.results.evaluate import predict

    subset = retraining.images
    if len(subset) > CHECKED_IMAGES:
        order = np.random.default_rng(retraining.configuration.seed).permutation(len(subset))
        subset = replace(subset, indices=subset.indices[np.sort(order[:CHECKED_IMAGES])])
    probabilities, labels = predict(result.model, subset)
    return float((probabilities.argmax(axis=1) == labels).mean())


def _metrics(
    retraining: Retraining,
    result: "FitResult",
    *,
    training_accuracy: float,
    earlier_openings: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    configuration = retraining.configuration
    # The weights are from the best epoch: the last one unless training stopped early.
    best: Mapping[str, Any] = result.best
    return {
        "format_version": 1,
        "study": configuration.study,
        "trial": configuration.trial,
        "recipe": _published(configuration),
        "search": {"metric": configuration.metric, "value": configuration.value},
        "retraining": {
            "identity": retraining.identity,
            "images": len(retraining.images),
            "epochs": result.epochs_trained,
            # Sum over all epochs, because the result's own seconds start at the last resumption.
            "seconds": sum(row["seconds"] for row in result.history),
            "images_per_second": result.images_per_second,
            "parameters": result.parameters,
            "best_epoch": best["epoch"],
            "training_accuracy_of_the_model": training_accuracy,
            **{name: best[name] for name in best if name.endswith(("loss", "accuracy", "_f1"))},
        },
        "test_openings": [*earlier_openings, *retraining.split.openings],
        "seconds_by_activity": dict(retraining.clock.seconds),
    }


def _published(configuration: BestConfiguration) -> dict[str, Any] | None:
    from spaces.recipes import RECIPES

    recipe = RECIPES.get(configuration.recipe or "")
    return None if recipe is None else {"name": recipe.name, "published": dict(recipe.published)}
