"""Trains a published baseline as its authors did, with the code that retrains a search's winner."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.data.source import Data, DataSource
from search.errors import SearchInterrupted
from search.progress.choice import chosen_progress
from search.progress.clock import Clock
from search.progress.events import Progress
from search.results.configuration_file import BestConfiguration
from search.storage.places import Places
from search.system.interruption import Interruption
from search.system.runtime import Compute
from spaces.recipes import find_recipe

if TYPE_CHECKING:
    from search.results.run_result import RunOutput


def run_recipe(
    name: str,
    *,
    data: Data,
    seed: int = 0,
    epochs: int | None = None,
    budget_seconds: float | None = None,
    compute: Compute = Compute(),
    places: Places | str | Path = Places(),
    retrain_again: bool = False,
    progress: Progress | Literal["auto"] | None = "auto",
) -> "RunOutput":
    """Trains a recipe, evaluates it once on the test images and exports it, without a search.

    As in the recipe's report, validation images are held out for early stopping and plateaus. It
    trains on the other images for at most `epochs`, by default the recipe's own, and at most
    `budget_seconds`. Called again with the same arguments, it resumes where it was interrupted.
    Once it has finished, its result is read from its folder, except with `retrain_again`. `places`
    sets where files are kept; a bare path is the runs directory.

    Raises UserError for bad input and SearchInterrupted (a KeyboardInterrupt) after Ctrl-C.
    """
    from search.data import split_data
    from search.report.writing import report_finished_run
    from search.results.finished_run import find_finished_run, note_finished_run
    from search.results.plan import Retraining, run_directory
    from search.results.retraining import finish_run
    from search.training.features.source import FeatureSource

    recipe = find_recipe(name)
    clock, places = Clock(), Places.of(places)
    with (
        chosen_progress(progress) as shown,
        Interruption(restore_terminal=shown.restore_terminal),
    ):
        try:
            with clock.measure("data"):
                dataset = DataSource.of(data).load()
                split = split_data(
                    dataset, seed=seed, validation_fraction=recipe.validation_fraction
                )
                if recipe.images is not None:
                    split = split.with_fewer_images(recipe.images)
            for note in split.notes:
                shown.note(note)
            retraining = Retraining(
                configuration=BestConfiguration(recipe=name, seed=seed, candidate=recipe.candidate),
                split=split,
                epochs=epochs or recipe.candidate.training.epochs,
                budget_seconds=budget_seconds,
                hold_out=True,
                compute=compute,
                features=FeatureSource(split, limit=places.cache_limit, progress=shown),
                progress=shown,
                clock=clock,
            )
            parent = places.runs / name
            finished = None if retrain_again else find_finished_run(parent, retraining)
            if finished is not None:
                note_finished_run(finished, retraining)
                return finished
            output = finish_run(retraining, run_directory(parent, retraining))
            report_finished_run(None, output.directory, shown)
            return output
        except KeyboardInterrupt:
            raise SearchInterrupted(
                f"interrupted; the finished epochs of {name!r} are kept: run the same command to "
                f"resume"
            ) from None
