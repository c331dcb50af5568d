"""A complete run, from a study's name to an exported model."""

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
from search.report.writing import report_finished_run
from search.results.run_result import RunResult
from search.sizing.time_plan import TimePlan
from search.storage import default_storage, open_storage, quiet_optuna
from search.storage.artifacts import keep_results, open_artifacts
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

    Called again with the same arguments, it resumes where it was interrupted. Several concurrent
    runs of one study share its trials; of the runs that share a runs directory, one retrains the
    winner.

    Args:
        study: A shipped study's name, a .py file that defines `study`, a study, or a bare function
            `trial -> Candidate`.
        data: Where the images are; or images in memory: `(images, labels)`, `(train, test)` or
            `(train, validation, test)` of such pairs, or indexable data sets with a length whose
            items are (image, label). None uses the study's own data.
        budget: Seconds for the whole run, or a Budget. A time plan divides it and is stored with
            the study. It covers the study as a whole, over all starts.
        trials: Number of finished trials, short for Budget(trials=...); without a budget the time
            is not limited.
        epochs: Epochs of an unpruned trial; None uses the study's own, or the time plan's.
        sampler: Optuna sampler that replaces the study's; it is reseeded before every trial from
            `seed` and the trial's number, so that a search can be resumed.
        pruner: Optuna pruner that replaces the study's; its steps are validations.
        storage: URL of the storage, or an Optuna storage; None for studies.db in the runs
            directory. Workers need a storage with a URL.
        study_name: Name in the storage and of the study's folder; None uses the study's own name.
        metric: Ranks trials on the validation images; None uses the study's own metric.
        class_weights: Weighting of unequal classes in training; "auto" weights them if the metric
            benefits. None uses the study's own.
        seed: Seeds the split, the sampler and every training.
        warm_start: "recipes" starts with the published baselines that the space can express.
        workers: 0 runs trials in this process; a number or "auto" runs them in that many processes
            on this machine. LocalWorkers and RayWorkers have more options.
        compute: Precision and XLA.
        places: Where files are kept; a bare path is the runs directory.
        retrain_again: Trains the winner even if an equal training has finished, and opens the test
            images once more. Otherwise that training's result is read from its folder.
        progress: Displays progress; "auto" does so in a terminal and in a notebook, None never.

    Raises UserError for bad input, SearchFailure if no trial completes, and SearchInterrupted (a
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
            f"none. Fix: pass the storage as a URL, such as {default_storage()}, or use workers=0."
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
        # One place for all studies of a storage, because the dashboard takes one.
        artifacts = open_artifacts(places.artifacts or places.runs / "artifacts")
        # Connected first: a missing cluster is reported before images load. Retraining needs none.
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
                    # Another command started the study while this one measured: use its plan.
                    _note_other_budget(theirs, budget, name, shown)
                    split, plan = make_plan(known=theirs)
            for note in split.notes:
                shown.note(note)
            _check_validation(split, metric)
            spec = with_class_weights(spec, split, opened, name, metric=metric, progress=shown)
            if plan.budget_seconds is not None:
                shown.note(plan.describe())
            engine = without_needless_workers(engine, plan)
            gpu_memory()  # before Keras allocates it
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
        # A signal that arrived while the last workers were ending must still stop the run here.
        interruption.check()
        configuration = best_configuration(session.study)
        if mirrors(session.study, session.study.best_trial):
            shown.note(
                "the final training mirrors images at random, and the model averages each image "
                "with its mirror image: the search found that the network recognises mirrored "
                "images just as well"
            )
        output = None
        searched = time.monotonic()
        remember_phase(session.study, "search", searched - began)
        if budget.retrain:
            output = retrain_winner(
                configuration,
                session,
                parent=directory,
                budget=budget.completed_by(spec),
                spent_seconds=lambda: earlier + time.monotonic() - began,
                again=retrain_again,
            )
            remember_phase(session.study, "retraining", time.monotonic() - searched)
            if output is not None:
                report_finished_run(session.study, output.directory, shown)
                try:
                    keep_results(
                        session.study, output.directory, artifacts, winner=configuration.trial
                    )
                except UserError as error:  # the run itself is complete
                    shown.warning(str(error))
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
            f"{name!r} starts as a new study in {url}; runs/studies.db, where earlier versions "
            f"kept all studies, has a study of that name: to resume that one, add --storage "
            f"{default_storage()}"
        )


def _with_settings(
    spec: StudySpec,
    *,
    epochs: int | None,
    sampler: BaseSampler | None,
    pruner: BasePruner | None,
    class_weights: str | None,
) -> StudySpec:
    """Returns a study with the settings that a run gives instead of the study's own."""
    settings: dict[str, Any] = {"epochs": epochs, "class_weights": class_weights}
    if sampler is not None:
        settings["sampler"] = lambda seed: sampler
    if pruner is not None:
        settings["pruner"] = lambda first_step: pruner
    return spec.model_copy(
        update={name: value for name, value in settings.items() if value is not None}
    )


def _total(spec: StudySpec, budget: Budget, plan: TimePlan) -> int:
    """Returns the number of finished trials that ends the search."""
    ends_by_time = plan.search_seconds is not None and spec.epochs is None
    return budget.trials or plan.trials or (UNLIMITED_TRIALS if ends_by_time else spec.trials)


def _require_backbones(spec: StudySpec, clock: Clock) -> None:
    """Fetches pretrained networks now, because a missing one would fail every trial."""
    if spec.backbones:
        start_keras()
    with clock.measure("data"):
        for backbone in spec.backbones:
            backbone.source()


def _note_other_budget(plan: TimePlan, budget: Budget, name: str, progress: Progress) -> None:
    if budget.seconds not in (None, plan.budget_seconds):
        kept = "no limit" if plan.budget_seconds is None else duration(plan.budget_seconds)
        progress.note(
            f"the study {name!r} keeps its first budget ({kept}); to use another one, start a new "
            f"study with --study-name NEW"
        )


def require_data(spec: StudySpec, data: Data) -> DataSource:
    """Returns the data to use; raises UserError if neither the study nor `data` names any."""
    source = DataSource.of(data)
    source = replace(source, location=source.location or spec.data)
    if source.location is None:
        raise UserError(
            f"A study needs images; {spec.name!r} has none of its own. Fix: name them with --data "
            f"FOLDER (`python -m search.list data` lists the options)."
        )
    return source


def load_split(source: DataSource, *, seed: int) -> Split:
    """Loads a data set and splits it into the roles of a study."""
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
            "A winner is either retrained again or not at all; received --retrain-again with "
            "--no-retrain. Fix: leave out one of them."
        )
    if metric not in DIRECTIONS:
        raise UserError(
            f"A metric must be one of {', '.join(DIRECTIONS)}; received {metric!r}. Fix: use one "
            f"of them."
        )
    if class_weights is not None and class_weights not in CHOICES:
        raise UserError(
            f"Class weights must be one of {', '.join(CHOICES)}; received {class_weights!r}. Fix: "
            f"use one of them, or leave it out for the study's own."
        )
    if study_name is not None and not _NAME.fullmatch(study_name):
        raise UserError(
            f"A study's name may contain letters, digits, '_', '.' and '-', because its folder has "
            f"that name; received {study_name!r}. Fix: use only those characters."
        )


def _check_validation(split: Split, metric: str) -> None:
    counts = split.validation.class_counts(split.spec.classes)
    if metric in RANKING_METRICS and (counts > 0).sum() < 2:
        raise UserError(
            f"The metric {metric} needs validation images of two or more classes; received "
            f"{len(split.validation)} of one class. Fix: add images of the others, or use --metric "
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
                f"interrupted; everything finished so far is kept in {name!r}: run the same "
                f"command to resume"
            ) from None
        except optuna.exceptions.StorageInternalError as error:
            raise SearchFailure(
                f"The storage stopped working: {one_line(error.__cause__ or error)}. Everything "
                f"finished so far is kept in {name!r}. Fix: repair the storage, then run the same "
                f"command to resume."
            ) from error
