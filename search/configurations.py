"""Trains a configuration file's network fully, without the study that found it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cnn_blocks.paths import user_path
from search.data.source import Data, DataSource
from search.progress.choice import chosen_progress
from search.progress.clock import Clock
from search.progress.events import Progress
from search.results.configuration_file import read_configuration
from search.results.plan import Retraining, run_directory
from search.results.retraining import finish_run
from search.results.run_result import RunOutput
from search.storage.places import Places
from search.system.runtime import Compute

if TYPE_CHECKING:
    from search.training.class_weighting import ClassWeights


def retrain_from_configuration(
    path: str | Path,
    *,
    data: Data,
    directory: str | Path | None = None,
    places: Places | str | Path = Places(),
    epochs: int | None = None,
    budget_seconds: float | None = None,
    seed: int | None = None,
    class_weights: "ClassWeights | Literal['auto'] | None" = None,
    compute: Compute = Compute(),
    progress: Progress | Literal["auto"] | None = "auto",
    clock: Clock | None = None,
) -> RunOutput:
    """Rebuilds a winner from its configuration file alone, trains it on `data` and exports it.

    No study database is read or written. Without `directory` the files go to a new folder in the
    runs directory of `places`, or to the folder in which the same retraining was interrupted.
    `class_weights` replaces the configuration's; "auto" replaces them if classes differ in size and
    the configuration's metric benefits.
    """
    from search.data import split_data
    from search.report.writing import report_finished_run
    from search.system.runtime import startup_chatter_held
    from search.training.class_weighting import choose_class_weights
    from search.training.features.source import FeatureSource

    clock, places = clock or Clock(), Places.of(places)
    with chosen_progress(progress) as shown:
        with startup_chatter_held():  # a block's file may import Keras
            configuration = read_configuration(path)
        if seed is not None:
            configuration = configuration.model_copy(update={"seed": seed})
        with clock.measure("data"):
            source = DataSource.of(data).sized(configuration.image_size)
            dataset = replace(source, fit=source.fit or configuration.fit_of_images).load()
            split = split_data(dataset, seed=configuration.seed)
        for note in split.notes:
            shown.note(note)
        if configuration.class_names and configuration.class_names != dataset.class_names:
            shown.warning(
                f"{path} was searched on {len(configuration.class_names)} other classes; the "
                f"network is rebuilt for the {len(dataset.class_names)} classes of "
                f"{source.location}."
            )
        weights, reason = choose_class_weights(
            class_weights,
            metric=configuration.metric or "accuracy",
            counts=split.development.class_counts(len(dataset.class_names)),
        )
        if reason:
            shown.note(reason)
        if weights is not None:
            candidate = configuration.candidate.with_training(class_weights=weights)
            configuration = configuration.model_copy(update={"candidate": candidate})
        retraining = Retraining(
            configuration=configuration,
            split=split,
            epochs=epochs,
            budget_seconds=budget_seconds,
            compute=compute,
            features=FeatureSource(split, limit=places.cache_limit, progress=shown),
            progress=shown,
            clock=clock,
        )
        if directory is None:
            parent = places.runs / (configuration.study or Path(path).stem)
            directory = run_directory(parent, retraining)
        output = finish_run(retraining, user_path(directory))
        report_finished_run(None, output.directory, shown)
        return output
