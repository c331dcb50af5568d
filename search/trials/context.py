"""What the trials of one study share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from search.progress.clock import Clock
from search.progress.events import Progress
from search.sizing.machine_speed import MachineSpeed
from search.sizing.time_plan import TimePlan
from search.system.interruption import Interruption
from search.system.runtime import Precision, Xla
from search.trials.lease import Lease
from studies.study import StudySpec

if TYPE_CHECKING:
    from search.data import Split
    from search.training.features.source import FeatureSource
    from search.trials.shared_checkpoints import SharedCheckpoints


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """Everything that the trials of one study share.

    `stop_reason` is asked while a trial trains, and told whether it is one of the study's first
    trials: a text ends the trial as pruned, with it.
    `most_trial_seconds` is asked while a trial trains: one that would take longer is infeasible.
    `shared` keeps the checkpoints where other machines find them too.
    `memory_bytes` is this worker's share of the machine's memory; None is all that is free.
    `plan` divides the time. `speed` is this process's; None predicts nothing. `slowdowns` gathers
    by how much longer its trials took than predicted.
    """

    spec: StudySpec
    split: "Split"
    metric: str
    seed: int
    checkpoints: Path
    precision: Precision = "auto"
    xla: Xla = "auto"
    clock: Clock = field(default_factory=Clock)
    progress: Progress = field(default_factory=Progress)
    interruption: Interruption = field(default_factory=Interruption)
    stop_reason: Callable[[bool], str | None] = lambda first: None
    most_trial_seconds: Callable[[], float | None] = lambda: None
    features: "FeatureSource | None" = None
    memory_bytes: int | None = None
    lease: Lease | None = None
    shared: "SharedCheckpoints | None" = None
    plan: TimePlan = field(default_factory=TimePlan)
    speed: MachineSpeed | None = None
    slowdowns: list[float] = field(default_factory=list)
