"""What a search says while it runs, and who listens.

The same values reach the screen and travel through the pipe from a worker to its supervisor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeAlias

TrialState = Literal["complete", "pruned", "infeasible", "failed", "interrupted", "crashed"]


@dataclass(frozen=True, kw_only=True)
class SearchStarted:
    """A search begins or resumes.

    `complete`, `pruned`, `infeasible` and `failed` count the trials that the study already holds;
    `trials` is the total to reach, None where only time ends.
    """

    study_name: str
    trials: int | None
    metric: str
    budget_seconds: float | None
    complete: int = 0
    pruned: int = 0
    infeasible: int = 0
    failed: int = 0
    best_value: float | None = None
    best_trial: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A trial begins; `summary` is its candidate in one line, `epochs` 0 while unknown."""

    number: int
    summary: str
    epochs: float


@dataclass(frozen=True, kw_only=True)
class TrialAdvanced:
    """A running trial got further; `epoch` counts finished epochs and may be a fraction."""

    number: int
    epoch: float
    epochs: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class TrialFinished:
    """A trial ended; `reason` says why where it did not complete.

    `best_value` is the study's best so far, of trial `best_trial`; another process may have found
    it.
    """

    number: int
    state: TrialState
    value: float | None
    reason: str | None
    seconds: float
    best_value: float | None
    best_trial: int | None


@dataclass(frozen=True, kw_only=True)
class SearchFinished:
    """No further trial will start; `best_value`, of trial `best_trial`, is the study's best."""

    best_value: float | None
    best_trial: int | None


@dataclass(frozen=True, kw_only=True)
class RetrainingStarted:
    """The winner's training on all training and validation images begins."""

    epochs: float
    images: int
    summary: str


@dataclass(frozen=True, kw_only=True)
class RetrainingAdvanced:
    """The retraining got further."""

    epoch: float
    epochs: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class RetrainingFinished:
    """The retraining ended."""

    seconds: float


@dataclass(frozen=True)
class Note:
    """Something worth knowing or, as a warning, worth a look."""

    text: str
    is_warning: bool = False


Event: TypeAlias = (
    SearchStarted
    | TrialStarted
    | TrialAdvanced
    | TrialFinished
    | SearchFinished
    | RetrainingStarted
    | RetrainingAdvanced
    | RetrainingFinished
    | Note
)


class Progress:
    """Receives every event of a search and shows nothing; the library's default.

    Usable as a context manager; leaving it restores the terminal. One of your own overrides
    `handle`, and matches the events that it wants.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def restore_terminal(self) -> None:
        """Shows the cursor again; for a signal handler that is about to end the process."""

    def handle(self, event: Event) -> None:
        """Is told everything that happens."""

    def note(self, text: str) -> None:
        """Says something worth knowing."""
        self.handle(Note(text))

    def warning(self, text: str) -> None:
        """Says something worth a look."""
        self.handle(Note(text, is_warning=True))
