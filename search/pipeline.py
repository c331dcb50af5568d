"""The whole run, from a study's name to an exported model."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage

from cnn_blocks.errors import UserError
from search.data import DataSource, Split, split_data
from search.data.image_fit import DEFAULT_FIT
from search.data.source import Data
from search.engines.launch import engine_for, without_needless_workers
from search.engines.workers import Workers, workers_of
from search.errors import SearchFailure, SearchInterrupted
from search.maintenance.earlier_default import has_study_in_earlier_default
from search.optimize.budget import Budget
from search.optimize.final_training import retrain_winner
from search.optimize.fingerprint import refuse_foreign
from search.optimize.loop import UNLIMITED_TRIALS
from search.optimize.opening import open_session
from search.optimize.planning import plan_run
from search.optimize.pretrained import backbones_at_hand
from search.optimize.stored_study import (
    as_begun,
    remember_phase,
    searched_seconds,
    store_study,
    stored_fit,
    stored_plan,
    with_class_weights,
)
from search.optimize.winner import best_configuration, mirrors
from search.progress.choice import chosen_progress
from search.progress.clock import Clock
from search.progress.events import Progress
from search.progress.words import duration
from search.results.run_result import RunResult
from search.sizing.time_plan import TimePlan
from search.storage import default_storage, open_storage, quiet_optuna
from search.storage.artifacts import open_artifacts
from search.storage.connections import one_line
from search.storage.places import Places
from search.system.interruption import Interruption
from search.system.runtime import Compute, start_keras, startup_chatter_held
from search.training.class_weighting import CHOICES, ClassWeights
from search.training.feasibility import gpu_memory
from search.training.metrics import DIRECTIONS, RANKING_METRICS, Metric
from search.trials.experiment import Experiment, PortableStudy
from spaces.probe import Space
from studies.study import LoadedStudy, StudySpec, load_study

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)


def run_study(
    study: str | Path | Space | StudySpec | LoadedStudy,
    *,
    data: Data = None,
    budget: Budget | float | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    storage: str | BaseStorage | None = None,
    study_name: str | None = None,
    metric: Metric | None = None,
    class_weights: ClassWeights | Literal["auto"] | None = None,
    seed: int = 0,
    warm_start: Literal["recipes"] | None = None,
    workers: Workers | int | Literal["auto"] = 0,
    compute: Compute = Compute(),
    places: Places | str | Path = Places(),
    retrain_again: bool = False,
    progress: Progress | Literal["auto"] | None = "auto",
) -> RunResult:
    """Searches, retrains the winner, evaluates it once on the test images and exports it.

    Called again with the same arguments, it resumes where it was interrupted. Several runs of one
    study at a time share its trials; of those that share a runs directory one retrains the winner.

    Args:
        study: A shipped study's name, a .py file that defines `study`, a study, or a bare function
            `trial -> Candidate`.
        data: Where the images are; or images in memory: `(images, labels)`, `(train, test)` or
            `(train, validation, test)` of such pairs, or indexable data sets with a length whose
            items are (image, label); None for the study's own.
        budget: The time of everything in seconds, or a Budget; a time plan divides it and is stored
            with the study. It bounds the study as a whole, over all starts.
        trials: Finished trials in total, in short for Budget(trials=...); alone they leave the time
            without a limit.
        epochs: Epochs of an unpruned trial; None for the study's own, or the time plan's.
        sampler: An Optuna sampler in place of the study's; it is reseeded before every trial from
            `seed` and the trial's number, so that a search can be resumed.
        pruner: An Optuna pruner in place of the study's; it counts in validations.
        storage: URL of the storage, or an Optuna storage; None for studies.db in the runs
            directory. Workers need one with a URL.
        study_name: The study's name in the storage and of its folder; None for its own.
        metric: What ranks trials on the validation images; None for the study's own.
        class_weights: "auto" weights unequal classes where the metric gains by it.
        seed: Seeds the split, the sampler and every training.
        warm_start: "recipes" begins with the published baselines that the space can express.
        workers: 0 runs trials in this process; a number or "auto" runs them in that many processes
            of this machine. LocalWorkers and RayWorkers say more.
        compute: Precision and XLA.
        places: Where files are kept; a bare path is the runs directory.
        retrain_again: Trains the winner even if an equal training has finished, and opens the test
            images once more. Otherwise that training's result is read from its folder.
        progress: Shows what happens; "auto" does in a terminal and in a notebook, None never.

    Raises UserError for bad input, SearchFailure when no trial completes, and SearchInterrupted (a
    KeyboardInterrupt) after Ctrl-C or SIGTERM.
    """
    began = time.monotonic()
    with startup_chatter_held():  # a study's file may import Keras
        loaded = load_study(study)
    spec, name = loaded.spec, study_name or loaded.spec.name
    metric = metric or spec.metric
    budget, places = Budget.of(budget, trials=trials), Places.of(places)
    spec = _with_settings(
        spec, epochs=epochs, sampler=sampler, pruner=pruner, class_weights=class_weights
    )
    _check(
        metric=metric,
        class_weights=class_weights,
        study_name=study_name,
        again_without_retraining=retrain_again and not budget.retrain,
    )
    directory = places.runs / name
    engine = engine_for(workers_of(workers), logs=directory / "workers")
    source = require_data(spec, data)
    url, opened = _open(storage, places)
    if url is None and not engine.trains_here:
        raise UserError(
            f"Workers open the storage by its URL; received a {type(opened).__name__}, which has "
            f"none. Fix: give the storage as a URL, such as {default_storage()}, or use workers=0."
        )
    clock = Clock()
    with chosen_progress(progress) as shown, _resumable(name, shown) as interruption:
        for text in loaded.warnings:
            shown.warning(text)
        refuse_foreign(opened, name, DIRECTIONS[metric])
        known = stored_plan(opened, name)
        source = replace(source, fit=source.fit or stored_fit(opened, name) or DEFAULT_FIT)
        if storage is None:
            _note_earlier_default(opened, name, str(url), shown)
        spec = as_begun(spec, opened, name)
        if known is None and spec.takes_backbones and not spec.backbones:
            backbones, reason = backbones_at_hand()
            spec = spec.model_copy(update={"backbones": backbones})
            shown.note(reason)
        # One place for all studies of a storage: the dashboard takes one.
        artifacts = open_artifacts(places.artifacts or places.runs / "artifacts")
        # A missing cluster is reported before the images are loaded; the retraining needs none.
        with engine.connected():
            with clock.measure("data"):
                if known is not None:
                    _note_other_budget(known, budget, name, shown)
                make_plan = partial(
                    plan_run,
                    spec,
                    budget,
                    load=lambda size: load_split(source.sized(size), seed=seed),
                    sized=source.image_size is not None,
                    compute=compute,
                    spent_seconds=lambda: time.monotonic() - began,
                    source=loaded.source,
                )
                split, plan = make_plan(known=known)
                if known is None and (theirs := stored_plan(opened, name)) is not None:
                    # Another command began the study while this one measured: its plan counts.
                    _note_other_budget(theirs, budget, name, shown)
                    split, plan = make_plan(known=theirs)
            for note in split.notes:
                shown.note(note)
            _check_validation(split, metric)
            spec = with_class_weights(spec, split, opened, name, metric=metric, progress=shown)
            if plan.budget_seconds is not None:
                shown.note(plan.describe())
            engine = without_needless_workers(engine, plan)
            gpu_memory()  # before Keras takes it
            _require_backbones(spec, clock)
            experiment = Experiment(
                study=PortableStudy(replace(loaded, spec=spec)),
                study_name=name,
                storage=url,
                data=source.sized(plan.image_size),
                data_fingerprint=split.dataset.fingerprint,
                metric=metric,
                seed=seed,
                trials=_total(spec, budget, plan),
                checkpoints=directory / "checkpoints",
                plan=plan,
                compute=compute,
                artifacts=places.artifacts,
                cache_limit=places.cache_limit,
            )
            with clock.measure("storage"):
                stored = store_study(
                    experiment,
                    split,
                    opened,
                    warm_start=warm_start,
                    command=loaded.command,
                    progress=shown,
                )
                earlier = searched_seconds(stored)
            session = open_session(
                experiment,
                opened,
                split=split,
                trains=engine.trains_here,
                progress=shown,
                clock=clock,
                interruption=interruption,
            )
            engine.search(session)
        # A signal that came while the last workers ended is not for the retraining.
        interruption.check()
        configuration = best_configuration(session.study)
        if mirrors(session.study, session.study.best_trial):
            shown.note(
                "the final training mirrors images at random, and the model averages an image and "
                "its mirror image: the search found that mirrored images are recognised as well"
            )
        output = None
        searched = time.monotonic()
        remember_phase(session.study, "search", searched - began)
        if budget.retrain:
            output = retrain_winner(
                configuration,
                session,
                artifacts,
                parent=directory,
                budget=budget.completed_by(spec),
                spent_seconds=lambda: earlier + time.monotonic() - began,
                again=retrain_again,
            )
            remember_phase(session.study, "retraining", time.monotonic() - searched)
    return RunResult(session.study, configuration, split, url, artifacts.location, output)


def _open(storage: str | BaseStorage | None, places: Places) -> tuple[str | None, BaseStorage]:
    """Returns the URL of a storage, None if it has none, and the storage."""
    if isinstance(storage, BaseStorage):
        return getattr(storage, "url", None), storage
    url = storage or default_storage(places.runs)
    return url, open_storage(url)


def _note_earlier_default(storage: BaseStorage, name: str, url: str, progress: Progress) -> None:
    is_new = name not in optuna.get_all_study_names(storage)
    if is_new and has_study_in_earlier_default(name, used=url):
        progress.note(
            f"{name!r} begins in {url}; runs/studies.db, where earlier versions kept all studies, "
            f"has one of that name: to continue that one add --storage {default_storage()}"
        )


def _with_settings(
    spec: StudySpec,
    *,
    epochs: int | None,
    sampler: BaseSampler | None,
    pruner: BasePruner | None,
    class_weights: str | None,
) -> StudySpec:
    """Returns a study with the settings that a run gives in place of its own."""
    settings: dict[str, Any] = {"epochs": epochs, "class_weights": class_weights}
    if sampler is not None:
        settings["sampler"] = lambda seed: sampler
    if pruner is not None:
        settings["pruner"] = lambda first_step: pruner
    return spec.model_copy(
        update={name: value for name, value in settings.items() if value is not None}
    )


def _total(spec: StudySpec, budget: Budget, plan: TimePlan) -> int:
    """Returns how many finished trials end the search."""
    ends_by_time = plan.search_seconds is not None and spec.epochs is None
    return budget.trials or plan.trials or (UNLIMITED_TRIALS if ends_by_time else spec.trials)


def _require_backbones(spec: StudySpec, clock: Clock) -> None:
    """Fetches pretrained networks now: what cannot be had would fail every trial."""
    if spec.backbones:
        start_keras()
    with clock.measure("data"):
        for backbone in spec.backbones:
            backbone.source()


def _note_other_budget(plan: TimePlan, budget: Budget, name: str, progress: Progress) -> None:
    if budget.seconds not in (None, plan.budget_seconds):
        kept = "no limit" if plan.budget_seconds is None else duration(plan.budget_seconds)
        progress.note(
            f"the study {name!r} was begun with a budget of {kept}, which counts; for another one "
            f"start another study with --study-name NEW"
        )


def require_data(spec: StudySpec, data: Data) -> DataSource:
    """Returns the data to use; a study without its own needs it named."""
    source = DataSource.of(data)
    source = replace(source, location=source.location or spec.data)
    if source.location is None:
        raise UserError(
            f"A study needs images; {spec.name!r} brings none of its own. Name them with --data "
            f"FOLDER (`python -m search.list data` shows what is possible)."
        )
    return source


def load_split(source: DataSource, *, seed: int) -> Split:
    """Loads a data set and splits it by the shares of a study."""
    return split_data(source.load(), seed=seed)


def _check(
    *,
    metric: str,
    class_weights: str | None,
    study_name: str | None,
    again_without_retraining: bool,
) -> None:
    if again_without_retraining:
        raise UserError(
            "A winner is retrained again or not at all; received --retrain-again beside "
            "--no-retrain. Fix: leave out one of them."
        )
    if metric not in DIRECTIONS:
        raise UserError(f"A metric must be one of {', '.join(DIRECTIONS)}; received {metric!r}.")
    if class_weights is not None and class_weights not in CHOICES:
        raise UserError(
            f"Class weights must be one of {', '.join(CHOICES)}; received {class_weights!r}. Fix: "
            f"name one of them, or leave it out for the study's own."
        )
    if study_name is not None and not _NAME.fullmatch(study_name):
        raise UserError(
            f"A study's name may hold letters, digits, '_', '.' and '-', because a folder is named "
            f"after it; received {study_name!r}."
        )


def _check_validation(split: Split, metric: str) -> None:
    counts = split.validation.class_counts(split.spec.classes)
    if metric in RANKING_METRICS and (counts > 0).sum() < 2:
        raise UserError(
            f"The metric {metric} needs validation images of two classes or more; received "
            f"{len(split.validation)} of one. Fix: add images of the others, or use --metric "
            f"accuracy."
        )


@contextmanager
def _resumable(name: str, progress: Progress) -> Iterator[Interruption]:
    restore_terminal = progress.restore_terminal
    with quiet_optuna(), Interruption(restore_terminal=restore_terminal) as interruption:
        try:
            yield interruption
        except KeyboardInterrupt:
            raise SearchInterrupted(
                f"interrupted; everything finished so far is kept in {name!r}: the same command "
                f"resumes there"
            ) from None
        except optuna.exceptions.StorageInternalError as error:
            raise SearchFailure(
                f"The storage stopped working: {one_line(error.__cause__ or error)}. Everything "
                f"finished so far is kept in {name!r}: mend the storage, and the same command goes "
                f"on from there."
            ) from error
