"""One process's view of an experiment: what all of its trials use."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import optuna

from search.progress.clock import Clock
from search.progress.events import Progress
from search.sizing.machine_speed import MachineSpeed
from search.system.interruption import Interruption
from search.trials.experiment import Experiment
from search.trials.search_time import SearchTime
from studies.study import StudySpec

if TYPE_CHECKING:
    from search.data import Split
    from search.training.features.source import FeatureSource
    from search.trials.shared_checkpoints import SharedCheckpoints


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """An experiment, opened in one process.

    Attributes:
        experiment: What was opened.
        spec: The experiment's study, as live objects.
        study: The stored study, with its sampler and pruner.
        split: The images.
        features: The features of frozen backbones.
        time: The search's wall-clock time.
        progress: Where events go.
        clock: Where seconds by activity are counted.
        interruption: Whether the search was asked to stop.
        shared: Checkpoints that other machines can fetch; None keeps them on this one.
        memory_bytes: This process's part of the device's memory; None for all that is free.
        speed: The speed of this process; None if no speed is predicted.
        slowdowns: By which factor its trials were slower than predicted.
    """

    experiment: Experiment
    spec: StudySpec
    study: optuna.Study
    split: "Split"
    features: "FeatureSource"
    time: SearchTime = field(default_factory=SearchTime)
    progress: Progress = field(default_factory=Progress)
    clock: Clock = field(default_factory=Clock)
    interruption: Interruption = field(default_factory=Interruption)
    shared: "SharedCheckpoints | None" = None
    memory_bytes: int | None = None
    speed: MachineSpeed | None = None
    slowdowns: list[float] = field(default_factory=list)
