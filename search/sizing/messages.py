"""What a measuring process and its parent tell each other."""

from dataclasses import dataclass
from pathlib import Path

from search.system.runtime import Compute


@dataclass(frozen=True)
class Task:
    """What to train: a candidate and an input specification as JSON.

    `sources` are the files or modules of a person's own components; `folder` is for features.
    """

    candidate: str
    spec: str
    sources: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Round:
    """One measurement, in windows of so many seconds from when all processes are ready."""

    compute: Compute
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Answers a round whose training failed, in place of what was asked for."""

    reason: str


@dataclass(frozen=True)
class Loaded:
    """What a process finds out before it measures; memory in bytes.

    `process_memory` is held by a process that has imported everything, `training_memory` what the
    candidate's training adds to it, or takes of the GPU.
    """

    on_gpu: bool
    process_memory: int
    training_memory: int
