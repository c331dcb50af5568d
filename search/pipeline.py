"""The whole line, from a study's name to an exported model."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning

from cnn_blocks.errors import UserError
from search.clock import Clock
from search.configuration_file import BestConfiguration
from search.errors import SearchFailure, SearchInterrupted
from search.files import whole_file
from search.fingerprint import identify, remember_or_refuse
from search.interruption import Interruption
from search.metrics import DIRECTIONS
from search.progress import Progress
from search.storage import (
    DEFAULT_STORAGE,
    StudyAttribute,
    TrialAttribute,
    open_storage,
    quiet_optuna,
)
from search.storage.connections import one_line
from search.warm_start import enqueue_once, enqueue_recipes
from search.winner import best_configuration
from studies.study import LoadedStudy, StudySpec, load_study

if TYPE_CHECKING:
    import keras

    from search.artifacts import Artifacts
    from search.data import Split
    from search.engines.job import WorkerLimits
    from search.metrics import Metric
    from search.retrain import RunOutput
    from search.runtime import Precision, Xla
    from spaces.candidate import Candidate

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a finished run leaves.

    `configuration` is the winner and where it comes from, as in best_config.json; `storage` is the
    URL where `study` is kept, `artifacts` the place of its artifacts. `output` is None where the
    winner was not retrained here.
    """

    study: optuna.Study
    configuration: BestConfiguration
    split: "Split"
    storage: str
    artifacts: str
    output: "RunOutput | None"

    @property
    def candidate(self) -> "Candidate":
        """The winner."""
        return self.configuration.candidate

    @property
    def model(self) -> "keras.Model":
        """The retrained float32 model: uint8 RGB images in, class probabilities out."""
        return self._retrained.model

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds, the scores on the test images under "test"."""
        return self._retrained.metrics

    @property
    def directory(self) -> Path:
        """The folder with all files of the run."""
        return self._retrained.directory

    def summary(self) -> str:
        """Returns the closing text: the result, where the time went, the paths, what comes next."""
        from search.summary import summarize, summarize_search

        if self.output is None:
            return summarize_search(self.configuration, storage=self.storage)
        folder = None if self.artifacts.startswith("s3://") else self.artifacts
        return summarize(self.output, storage=self.storage, artifacts=folder)

    @property
    def _retrained(self) -> "RunOutput":
        if self.output is None:
            raise ValueError(
                f"A run has a model where it retrained the winner; this one of "
                f"{self.study.study_name!r} did not retrain the winner. Run it without "
                f"retrain=False, once no other process retrains it."
            )
        return self.output


def run_study(
    study: str | Path | StudySpec | LoadedStudy,
    *,
    data: str | Path | None = None,
    trials: int | None = None,
    budget_seconds: float | None = None,
    storage: str = DEFAULT_STORAGE,
    study_name: str | None = None,
    metric: "Metric | None" = None,
    seed: int = 0,
    runs_directory: str | Path = "runs",
    retrain_epochs: int | None = None,
    retrain_budget_seconds: float | None = None,
    image_size: int | tuple[int, int] | None = None,
    max_bad_files: float = 0.01,
    precision: "Precision" = "auto",
    xla: "Xla" = "auto",
    warm_start: Literal["recipes"] | None = None,
    cache_limit: int | None = None,
    workers: int | Literal["auto"] = 0,
    limits: "WorkerLimits | None" = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    cpus_each: float | None = None,
    gpus_each: float | None = None,
    retrain: bool = True,
    artifacts: str | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Searches, retrains the winner, evaluates it once on the test images and exports it.

    Called again with the same arguments, it resumes where it was interrupted: `trials` and
    `budget_seconds` bound the study as a whole, over all starts. What is left out comes from the
    study; files go below `runs_directory`/NAME. `warm_start` "recipes" begins with the published
    baselines that the study's space can express. The features of frozen backbones take at most
    `cache_limit` bytes of the cache, 20 GiB if not said; with 0 none are kept. With `workers` 0
    trials run in this process; else in so many processes, each replaced within its `limits` when it
    dies, or in as many as a measurement finds best ("auto"). With the `engine` "ray" the workers
    run on the Ray cluster at `address` (else the one that RAY_ADDRESS names, or that runs on this
    machine); each takes `cpus_each` CPUs, 1 if not said, and `gpus_each` GPUs, none if not said,
    fractions too, and "auto" is as many as find room there. Several runs of one study at a time
    share its trials; of those that share a runs directory one retrains a winner. Without
    `retrain` the run ends with the search. Results are kept as artifacts of the study as well, and
    checkpoints with them if `artifacts` names a folder or s3://BUCKET/PREFIX that all machines
    share; without it, results go to the folder `artifacts` of the runs directory. Shows nothing
    unless given a `progress`.

    Raises UserError for bad input, SearchFailure when no trial completes, and SearchInterrupted (a
    KeyboardInterrupt) after Ctrl-C or SIGTERM.
    """
    from search.artifacts import open_artifacts
    from search.engines.job import WorkerJob, WorkerLimits, pickle_spec
    from search.engines.launch import search_on_ray, search_with_workers
    from search.engines.ray_cluster import connected
    from search.engines.ray_share import ray_share
    from search.feasibility import gpu_memory
    from search.features import FeatureSource
    from search.objective import TrialContext
    from search.runtime import start_keras
    from search.searching import search
    from search.shared_checkpoints import shared_checkpoints

    loaded = load_study(study)
    spec = loaded.spec
    metric = metric or spec.metric
    _check(trials=trials, budget_seconds=budget_seconds, metric=metric, study_name=study_name)
    share = ray_share(
        engine, workers=workers, address=address, cpus_each=cpus_each, gpus_each=gpus_each
    )
    name = study_name or spec.name
    source = require_data(spec, data)
    progress, clock = progress or Progress(), Clock()
    opened = open_storage(storage)
    kept = open_artifacts(artifacts or Path(runs_directory) / "artifacts")
    with ExitStack() as stack:
        stack.enter_context(quiet_optuna())
        interruption = stack.enter_context(Interruption(restore_terminal=progress.restore_terminal))
        stack.enter_context(_resumable(name))
        # A cluster that is not there must not wait for the images; the retraining needs none.
        search_stack = stack.enter_context(ExitStack())
        cluster = None if share is None else search_stack.enter_context(connected(address))
        with clock.measure("data"):
            split = load_split(
                source, seed=seed, image_size=image_size, max_bad_files=max_bad_files
            )
        for note in split.dataset.notes:
            progress.note(note)
        features = FeatureSource(
            split, limit=cache_limit, progress=progress, check=interruption.check
        )
        gpu_memory()
        if not workers:
            with clock.measure("compiling"):
                start_keras()
        with clock.measure("data"):
            for backbone in spec.backbones:
                backbone.source()  # what cannot be had now would fail every trial
        with clock.measure("storage"):
            stored = _open_study(
                loaded,
                split,
                opened,
                name=name,
                metric=metric,
                seed=seed,
                warm_start=warm_start,
                progress=progress,
            )
            directory = Path(runs_directory) / name
            _keep_split(stored, split, directory)
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
            features=features,
            shared=shared_checkpoints(artifacts, progress),
        )
        trials, budget_seconds = trials or spec.trials, budget_seconds or spec.budget_seconds
        if workers:
            job = WorkerJob(
                study_name=name,
                storage=storage,
                spec=pickle_spec(loaded),
                source=loaded.source,
                data=str(source),
                data_fingerprint=split.dataset.fingerprint,
                image_size=image_size,
                max_bad_files=max_bad_files,
                metric=metric,
                seed=seed,
                trials=trials,
                checkpoints=context.checkpoints.resolve(),
                cache_limit=cache_limit,
                artifacts=artifacts,
            )
            limits = limits or WorkerLimits()
            if cluster is not None and share is not None:
                search_on_ray(
                    stored,
                    context,
                    job,
                    cluster=cluster,
                    workers=workers,
                    share=share,
                    budget_seconds=budget_seconds,
                    limits=limits,
                )
                search_stack.close()
            else:
                search_with_workers(
                    stored,
                    context,
                    job,
                    workers=workers,
                    budget_seconds=budget_seconds,
                    limits=limits,
                    logs=directory / "workers",
                )
        else:
            search(
                stored,
                context,
                trials=trials,
                budget_seconds=budget_seconds,
                retries=(limits or WorkerLimits()).retries,
            )
        # A signal that came while the last workers ended is not for the retraining.
        interruption.check()
        configuration = best_configuration(stored)
        output = None
        if retrain:
            output = _retrain(
                configuration,
                stored,
                spec,
                split,
                parent=directory,
                epochs=retrain_epochs,
                budget_seconds=retrain_budget_seconds,
                precision=precision,
                xla=xla,
                progress=progress,
                clock=clock,
                features=features,
            )
        if output is not None:
            _keep(stored, output.directory, kept, progress)
    return RunResult(stored, configuration, split, storage, kept.location, output)


def _retrain(
    configuration: BestConfiguration,
    study: optuna.Study,
    spec: StudySpec,
    split: "Split",
    *,
    parent: Path,
    epochs: int | None,
    budget_seconds: float | None,
    progress: Progress,
    **shared: Any,
) -> "RunOutput | None":
    """Retrains the winner in a folder below `parent`; None where another process does."""
    from search.retrain import finish_run, only_retraining

    if budget_seconds is None:
        epochs = epochs or spec.retrain_epochs
    winner = study.best_trial
    with only_retraining(
        parent, configuration, split, epochs=epochs, budget_seconds=budget_seconds
    ) as directory:
        if directory is None:
            progress.note("another process retrains the winner: this one is done")
            return None
        return finish_run(
            configuration,
            split,
            directory=directory,
            epochs=epochs,
            budget_seconds=budget_seconds,
            images_per_second=winner.user_attrs.get(TrialAttribute.IMAGES_PER_SECOND),
            record_opening=_opening_recorder(study),
            search_curve=[
                (step / spec.reports_per_epoch, value)
                for step, value in sorted(winner.intermediate_values.items())
            ],
            progress=progress,
            **shared,
        )


def _keep(study: optuna.Study, directory: Path, artifacts: "Artifacts", progress: Progress) -> None:
    from search.artifacts import keep_results

    try:
        keep_results(study, directory, artifacts)
    except UserError as error:  # the run itself is whole
        progress.warning(str(error))


def require_data(spec: StudySpec, data: str | Path | None) -> str | Path:
    """Returns the data to use; a study without its own needs it named."""
    source = data or spec.data
    if source is None:
        raise UserError(
            f"A study needs images; {spec.name!r} brings none of its own. Name them with --data "
            f"FOLDER (`python -m search.list data` shows what is possible)."
        )
    return source


def load_split(
    data: str | Path,
    *,
    seed: int,
    image_size: int | tuple[int, int] | None = None,
    max_bad_files: float = 0.01,
) -> "Split":
    """Loads a data set and splits it by the shares of a study."""
    from search.data import load_data, split_data

    dataset = load_data(data, image_size=image_size, max_bad_files=max_bad_files)
    return split_data(dataset, seed=seed)


def _open_study(
    loaded: LoadedStudy,
    split: "Split",
    storage: optuna.storages.BaseStorage,
    *,
    name: str,
    metric: "Metric",
    seed: int,
    warm_start: Literal["recipes"] | None,
    progress: Progress,
) -> optuna.Study:
    """Creates or loads the stored study; a stored one with another identity is refused."""
    from search.sampling import ReseedingSampler

    spec = loaded.spec
    identity = identify(spec, split, metric=metric, seed=seed)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=ReseedingSampler(spec.sampler(seed), seed=seed),
        pruner=spec.make_pruner(),
        direction=DIRECTIONS[metric],
        load_if_exists=True,
    )
    remember_or_refuse(study, identity)
    if warm_start == "recipes":
        enqueue_recipes(study, spec, progress)
    for parameters in spec.start:
        enqueue_once(study, parameters)
    named = [f"validation {metric}"]
    if study.metric_names != named:
        with warnings.catch_warnings():
            # Naming the metric is experimental in Optuna; the dashboard shows the name.
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(named)
    described = {
        StudyAttribute.STUDY: spec.name,
        StudyAttribute.DESCRIPTION: spec.description,
        StudyAttribute.SOURCE: loaded.source,
        StudyAttribute.DATA: str(split.dataset.source),
        StudyAttribute.CLASS_NAMES: list(split.dataset.class_names),
        StudyAttribute.RETRAIN_EPOCHS: spec.retrain_epochs,
    }
    for attribute, value in described.items():
        if study.user_attrs.get(attribute) != value:
            study.set_user_attr(attribute, value)
    return study


def _keep_split(study: optuna.Study, split: "Split", directory: Path) -> None:
    path = directory / "split.npz"
    if not path.exists():
        with whole_file(path) as temporary:
            split.save_indices(temporary)
    study.set_user_attr(StudyAttribute.INDICES, str(path))


def _opening_recorder(study: optuna.Study) -> Callable[[dict[str, Any]], None]:
    def record(opening: dict[str, Any]) -> None:
        earlier = study.user_attrs.get(StudyAttribute.TEST_OPENINGS, [])
        study.set_user_attr(StudyAttribute.TEST_OPENINGS, [*earlier, opening])

    return record


def _check(
    *,
    trials: int | None,
    budget_seconds: float | None,
    metric: str,
    study_name: str | None,
) -> None:
    if trials is not None and trials < 1:
        raise UserError(f"A search needs at least one trial; received trials={trials}.")
    if budget_seconds is not None and budget_seconds <= 0:
        raise UserError(f"A budget must be positive; received {budget_seconds} seconds.")
    if metric not in DIRECTIONS:
        raise UserError(f"A metric must be one of {', '.join(DIRECTIONS)}; received {metric!r}.")
    if study_name is not None and not _NAME.fullmatch(study_name):
        raise UserError(
            f"A study's name may hold letters, digits, '_', '.' and '-', because a folder is named "
            f"after it; received {study_name!r}."
        )


@contextmanager
def _resumable(name: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise SearchInterrupted(
            f"interrupted; everything finished so far is kept in {name!r}: the same command goes "
            f"on from there"
        ) from None
    except optuna.exceptions.StorageInternalError as error:
        raise SearchFailure(
            f"The storage stopped working: {one_line(error.__cause__ or error)}. Everything "
            f"finished so far is kept in {name!r}: mend the storage, and the same command goes on "
            f"from there."
        ) from error
