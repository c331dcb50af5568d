"""The messages between a measuring process and its parent."""

from dataclasses import dataclass
from pathlib import Path

from search.system.runtime import Compute


@dataclass(frozen=True)
class Task:
    """What to train: a candidate and an input specification as JSON.

    `sources` are the files or modules of the user's own components; `folder` is for features.
    """

    candidate: str
    spec: str
    sources: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Round:
    """One measurement, in windows of `seconds` that start when all processes are ready."""

    compute: Compute
    seconds: float


@dataclass(frozen=True)
class Failed:
    """The answer to a round whose training failed."""

    reason: str


@dataclass(frozen=True)
class Loaded:
    """What a process reports before it measures; memory in bytes.

    `process_memory` is the memory of the process after all imports. `training_memory` is what the
    candidate's training needs in addition, in RAM or on the GPU.
    """

    on_gpu: bool
    process_memory: int
    training_memory: int
