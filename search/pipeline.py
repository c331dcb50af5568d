"""The whole line, from a study's name to an exported model."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import optuna

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.data import DataSource, Split, split_data
from search.data.image_fit import DEFAULT_FIT
from search.engines import launch
from search.engines.job import WorkerJob, WorkerLimits, pickle_spec
from search.engines.ray.cluster import connected
from search.engines.ray.resources import Share, ray_share
from search.errors import SearchFailure, SearchInterrupted
from search.maintenance.earlier_default import has_study_in_earlier_default
from search.optimize.final_training import retrain_winner
from search.optimize.fingerprint import refuse_foreign
from search.optimize.loop import UNLIMITED_TRIALS, search
from search.optimize.planning import Lengths, plan_run
from search.optimize.pretrained import backbones_at_hand
from search.optimize.stored_study import (
    as_begun,
    open_study,
    remember_phase,
    searched_seconds,
    stored_fit,
    stored_plan,
    with_class_weights,
)
from search.optimize.winner import best_configuration, mirrors
from search.progress.clock import Clock
from search.progress.events import Progress
from search.progress.words import duration
from search.results.run_result import RunResult
from search.sizing.machine_speed import measured_speed
from search.sizing.time_plan import TimePlan
from search.storage import default_storage, open_storage, quiet_optuna
from search.storage.artifacts import open_artifacts
from search.storage.connections import one_line
from search.system.interruption import Interruption
from search.system.runtime import Precision, Xla, start_keras, startup_chatter_held
from search.training.class_weighting import CHOICES, ClassWeights
from search.training.feasibility import gpu_memory
from search.training.features.source import FeatureSource
from search.training.metrics import DIRECTIONS, RANKING_METRICS, Metric
from search.trials.context import TrialContext
from search.trials.shared_checkpoints import shared_checkpoints
from studies.study import LoadedStudy, StudySpec, load_study

_BRIEF_SECONDS = 60.0
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)


def run_study(
    study: str | Path | StudySpec | LoadedStudy,
    *,
    data: DataSource | str | Path | None = None,
    trials: int | None = None,
    budget_seconds: float | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    metric: Metric | None = None,
    class_weights: ClassWeights | Literal["auto"] | None = None,
    seed: int = 0,
    runs_directory: str | Path = "runs",
    retrain_epochs: int | None = None,
    retrain_budget_seconds: float | None = None,
    precision: Precision = "auto",
    xla: Xla = "auto",
    warm_start: Literal["recipes"] | None = None,
    cache_limit: int | None = None,
    workers: int | Literal["auto"] = 0,
    limits: WorkerLimits | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    cpus_each: float | None = None,
    gpus_each: float | None = None,
    retrain: bool = True,
    retrain_again: bool = False,
    artifacts: str | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Searches, retrains the winner, evaluates it once on the test images and exports it.

    `budget_seconds` is the time of all that; a plan, stored with the study, divides it, and
    `retrain_budget_seconds` or `retrain_epochs` say otherwise for the retraining. With `trials`
    alone time is not limited. Called again with the same arguments, it resumes where it was
    interrupted: `trials` and `budget_seconds` bound the study as a whole, over all starts. What is
    left out comes from the study; files go below `runs_directory`/NAME, and without a `storage`
    the study is kept in `runs_directory`/studies.db. `warm_start` "recipes" begins with the
    published baselines that the study's space can express. `class_weights` "auto" weights unequal
    classes where the `metric` gains by it. The features of
    frozen backbones take at most `cache_limit` bytes of the cache, 20 GiB if not said; with 0
    none are kept. With `workers` 0 trials run in this process; else in so many processes, each
    replaced within its `limits` when it dies, or in as many as a measurement finds best
    ("auto"). With the `engine` "ray" the workers run on the Ray cluster at `address` (else the
    one that RAY_ADDRESS names, or that runs on this machine); each takes `cpus_each` CPUs, 1 if
    not said, and `gpus_each` GPUs, none if not said, fractions too, and "auto" is as many as
    find room there. Several runs of one study at a time share its trials; of those that share a
    runs directory one retrains a winner. Without `retrain` the run ends with the search.
    A winner whose equal retraining has finished before is not trained again, unless with
    `retrain_again`: its result is read from its folder, and the test images stay closed.
    Results are kept as artifacts of the study as well, and checkpoints with them if `artifacts`
    names a folder or s3://BUCKET/PREFIX that all machines share; without it, results go to the
    folder `artifacts` of the runs directory. Shows nothing unless given a `progress`.

    Raises UserError for bad input, SearchFailure when no trial completes, and SearchInterrupted (a
    KeyboardInterrupt) after Ctrl-C or SIGTERM.
    """
    with startup_chatter_held():  # a study's file may import Keras
        loaded = load_study(study)
    spec, name = loaded.spec, study_name or loaded.spec.name
    metric = metric or spec.metric
    if retrain_again and not retrain:
        raise UserError(
            "A winner is retrained again or not at all; received --retrain-again beside "
            "--no-retrain. Fix: leave out one of them."
        )
    if class_weights is not None:
        spec = spec.model_copy(update={"class_weights": class_weights})
    _check(
        trials=trials,
        budget_seconds=budget_seconds,
        metric=metric,
        class_weights=class_weights,
        study_name=study_name,
    )
    share = ray_share(
        engine, workers=workers, address=address, cpus_each=cpus_each, gpus_each=gpus_each
    )
    runs_directory = user_path(runs_directory)
    source, directory = require_data(spec, data), runs_directory / name
    progress, clock, limits = progress or Progress(), Clock(), limits or WorkerLimits()
    for text in loaded.warnings:
        progress.warning(text)
    began = time.monotonic()
    lengths = Lengths(
        budget_seconds=budget_seconds,
        trials=trials,
        retrain=retrain,
        retraining_seconds=retrain_budget_seconds,
        retraining_epochs=retrain_epochs,
    )
    url = storage or default_storage(runs_directory)
    opened = open_storage(url)
    refuse_foreign(opened, name, DIRECTIONS[metric])
    known = stored_plan(opened, name)
    source = replace(source, fit=source.fit or stored_fit(opened, name) or DEFAULT_FIT)
    is_new = storage is None and name not in optuna.get_all_study_names(opened)
    if is_new and has_study_in_earlier_default(name, used=url):
        progress.note(
            f"{name!r} begins in {url}; runs/studies.db, where earlier versions kept all studies, "
            f"has one of that name: to go on with that one add --storage {default_storage()}"
        )
    spec = as_begun(spec, opened, name)
    if known is None and spec.takes_backbones and not spec.backbones:
        backbones, reason = backbones_at_hand()
        spec = spec.model_copy(update={"backbones": backbones})
        progress.note(reason)
    loaded = replace(loaded, spec=spec)
    # One place for all studies of a database, as optuna-dashboard's --artifact-dir is.
    kept = open_artifacts(artifacts or runs_directory / "artifacts")
    with _resumable(name, progress) as interruption:
        # A cluster that is not there must not wait for the images; the retraining needs none.
        with _worker_search(share, address, logs=directory / "workers") as search_with_workers:
            with clock.measure("data"):
                if known is not None:
                    _note_other_budget(known, budget_seconds, name, progress)
                make_plan = partial(
                    plan_run,
                    spec,
                    lengths,
                    load=lambda size: load_split(source.sized(size), seed=seed),
                    sized=source.image_size is not None,
                    precision=precision,
                    xla=xla,
                    spent_seconds=lambda: time.monotonic() - began,
                    source=loaded.source,
                )
                split, plan = make_plan(known=known)
                if known is None and (theirs := stored_plan(opened, name)) is not None:
                    # Another command began the study while this one measured: its plan counts.
                    _note_other_budget(theirs, budget_seconds, name, progress)
                    split, plan = make_plan(known=theirs)
            for note in split.notes:
                progress.note(note)
            _check_validation(split, metric)
            spec = with_class_weights(spec, split, opened, name, metric=metric, progress=progress)
            loaded = replace(loaded, spec=spec)
            if plan.budget_seconds is not None:
                progress.note(plan.describe())
            if workers == "auto" and share is None and _is_brief(plan):
                workers = 0
            ends_by_time = plan.search_seconds is not None and spec.epochs is None
            total = trials or plan.trials or (UNLIMITED_TRIALS if ends_by_time else spec.trials)
            context = TrialContext(
                spec=spec,
                split=split,
                metric=metric,
                seed=seed,
                checkpoints=directory / "checkpoints",
                precision=precision,
                xla=xla,
                clock=clock,
                progress=progress,
                interruption=interruption,
                features=FeatureSource(
                    split, limit=cache_limit, progress=progress, check=interruption.check
                ),
                shared=shared_checkpoints(artifacts, progress),
                plan=plan,
            )
            _prepare(context, trains=not workers)
            if not workers and plan.speed is not None:
                speed = measured_speed(precision=precision, xla=xla, known=plan.speed)
                context = replace(context, speed=speed)
            with clock.measure("storage"):
                stored = open_study(loaded, context, opened, name=name, warm_start=warm_start)
            earlier = searched_seconds(stored)
            if workers:
                job = WorkerJob(
                    study_name=name,
                    storage=url,
                    spec=pickle_spec(loaded),
                    source=loaded.source,
                    data=source.sized(plan.image_size),
                    data_fingerprint=split.dataset.fingerprint,
                    metric=metric,
                    seed=seed,
                    trials=total,
                    plan=plan,
                    checkpoints=context.checkpoints.resolve(),
                    cache_limit=cache_limit,
                    artifacts=artifacts,
                )
                search_with_workers(
                    stored,
                    context,
                    job,
                    workers=workers,
                    budget_seconds=plan.search_seconds,
                    limits=limits,
                )
            else:
                search(
                    stored,
                    context,
                    trials=total,
                    budget_seconds=plan.search_seconds,
                    retries=limits.retries,
                )
        # A signal that came while the last workers ended is not for the retraining.
        interruption.check()
        configuration = best_configuration(stored)
        if mirrors(stored, stored.best_trial):
            progress.note(
                "the final training mirrors images at random, and the model averages an image and "
                "its mirror image: the search found that mirrored images are recognised as well"
            )
        output = None
        searched = time.monotonic()
        remember_phase(stored, "search", searched - began)

        def spent() -> float:
            return earlier + time.monotonic() - began

        if retrain:
            output = retrain_winner(
                configuration,
                stored,
                context,
                kept,
                parent=directory,
                epochs=lengths.of(spec).retraining_epochs,
                given_seconds=retrain_budget_seconds,
                spent_seconds=spent,
                again=retrain_again,
            )
            remember_phase(stored, "retraining", time.monotonic() - searched)
    return RunResult(stored, configuration, split, url, kept.location, output)


@contextmanager
def _worker_search(
    share: Share | None, address: str | None, *, logs: Path
) -> Iterator[Callable[..., None]]:
    """Yields the search by workers, on this machine or on a cluster that it is connected to."""
    if share is None:
        yield partial(launch.search_with_workers, logs=logs)
    else:
        with connected(address) as cluster:
            yield partial(launch.search_on_ray, cluster=cluster, share=share)


def _prepare(context: TrialContext, *, trains: bool) -> None:
    """Readies what all trials need of this process; Keras starts where it `trains`."""
    gpu_memory()
    if trains:
        with context.clock.measure("compiling"):
            start_keras()
    if context.spec.backbones:
        start_keras()
    with context.clock.measure("data"):
        for backbone in context.spec.backbones:
            backbone.source()  # what cannot be had now would fail every trial


def _is_brief(plan: TimePlan) -> bool:
    """Whether a search is over before a process of its own would have paid for its start."""
    return plan.search_seconds is not None and plan.search_seconds < _BRIEF_SECONDS


def _note_other_budget(
    plan: TimePlan, budget_seconds: float | None, name: str, progress: Progress
) -> None:
    if budget_seconds not in (None, plan.budget_seconds):
        kept = "no limit" if plan.budget_seconds is None else duration(plan.budget_seconds)
        progress.note(
            f"the study {name!r} was begun with a budget of {kept}, which counts; for another one "
            f"start another study with --study-name NEW"
        )


def require_data(spec: StudySpec, data: DataSource | str | Path | None) -> DataSource:
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
    trials: int | None,
    budget_seconds: float | None,
    metric: str,
    class_weights: str | None,
    study_name: str | None,
) -> None:
    if trials is not None and trials < 1:
        raise UserError(f"A search needs at least one trial; received trials={trials}.")
    if budget_seconds is not None and budget_seconds <= 0:
        raise UserError(f"A budget must be positive; received {budget_seconds} seconds.")
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
                f"goes on from there"
            ) from None
        except optuna.exceptions.StorageInternalError as error:
            raise SearchFailure(
                f"The storage stopped working: {one_line(error.__cause__ or error)}. Everything "
                f"finished so far is kept in {name!r}: mend the storage, and the same command goes "
                f"on from there."
            ) from error
