"""Opens an experiment in this process, which may be the main process or a worker."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import optuna

from search.optimize.sampling import make_sampler
from search.progress.clock import Clock
from search.progress.events import Progress
from search.sizing.machine_speed import measured_speed
from search.sizing.time_plan import make_pruner
from search.system.interruption import Interruption
from search.system.runtime import start_keras
from search.training.feasibility import gpu_memory
from search.training.features.source import FeatureSource
from search.trials.experiment import Experiment
from search.trials.search_time import SearchTime
from search.trials.session import Session
from search.trials.shared_checkpoints import shared_checkpoints

if TYPE_CHECKING:
    from search.data import Split


def open_session(
    experiment: Experiment,
    storage: optuna.storages.BaseStorage,
    *,
    split: "Split | None" = None,
    trains: bool = True,
    time: SearchTime | None = None,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    interruption: Interruption | None = None,
    check: Callable[[], None] | None = None,
) -> Session:
    """Opens an experiment whose study is in `storage`.

    Without `split` the images are loaded. If the process `trains`, Keras starts and the process's
    speed is measured if the time plan needs it; a supervisor leaves the device to its workers.
    `check` is called while features are computed and may raise; by default it raises after Ctrl-C.
    Raises UserError if the images differ from the study's, or if the study's modules are missing.
    """
    progress, clock = progress or Progress(), clock or Clock()
    interruption = interruption or Interruption()
    plan = experiment.plan
    if memory_bytes is None:
        gpu_memory()
    if trains:
        with clock.measure("compiling"):
            start_keras()
    with clock.measure("data"):
        split = split or experiment.load_split()
    spec = experiment.study.load()
    speed = None
    if trains and plan.speed is not None:
        with clock.measure("compiling"):
            speed = measured_speed(experiment.compute, known=plan.speed)
    study = optuna.load_study(
        study_name=experiment.study_name,
        storage=storage,
        sampler=make_sampler(spec, plan.task, seed=experiment.seed),
        pruner=make_pruner(spec, plan),
    )
    # The first read of a large study takes seconds; later ones only read what is new.
    study.get_trials(deepcopy=False)
    return Session(
        experiment=experiment,
        spec=spec,
        study=study,
        split=split,
        features=FeatureSource(
            split,
            limit=experiment.cache_limit,
            progress=progress,
            check=check or interruption.check,
        ),
        time=time or SearchTime(plan.search_seconds),
        progress=progress,
        clock=clock,
        interruption=interruption,
        shared=shared_checkpoints(experiment.artifacts, progress),
        memory_bytes=memory_bytes,
        speed=speed,
    )
