"""The events of a running search, and the base class of their receivers.

Events are sent to the display and through the pipe from a worker to its supervisor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeAlias

TrialState = Literal["complete", "pruned", "infeasible", "failed", "interrupted", "crashed"]


@dataclass(frozen=True, kw_only=True)
class SearchStarted:
    """A search starts or resumes.

    `complete`, `pruned`, `infeasible` and `failed` count the trials already in the study; `trials`
    is the target number, None if only time limits the search.
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
    """A trial starts; `summary` is its candidate in one line, `epochs` is 0 while unknown."""

    number: int
    summary: str
    epochs: float


@dataclass(frozen=True, kw_only=True)
class TrialAdvanced:
    """A running trial made progress; `epoch` counts finished epochs and may be a fraction."""

    number: int
    epoch: float
    epochs: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class TrialFinished:
    """A trial ended; `reason` says why if it did not complete.

    `best_value` is the study's best so far, from trial `best_trial`, possibly of another process.
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
    """No more trials will start; `best_value`, from trial `best_trial`, is the study's best."""

    best_value: float | None
    best_trial: int | None


@dataclass(frozen=True, kw_only=True)
class RetrainingStarted:
    """The winner's training on all training and validation images starts."""

    epochs: float
    images: int
    summary: str


@dataclass(frozen=True, kw_only=True)
class RetrainingAdvanced:
    """The retraining made progress."""

    epoch: float
    epochs: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class RetrainingFinished:
    """The retraining ended."""

    seconds: float


@dataclass(frozen=True)
class Note:
    """Information or, with `is_warning`, a warning for the user."""

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
    """Receives every event of a search and shows nothing; the default when used as a library.

    It is a context manager; leaving it restores the terminal. Subclasses override `handle` and
    match the events that they need.
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
        """Shows the cursor again; called by a signal handler just before it ends the process."""

    def handle(self, event: Event) -> None:
        """Receives an event."""

    def note(self, text: str) -> None:
        """Sends a note to the user."""
        self.handle(Note(text))

    def warning(self, text: str) -> None:
        """Sends a warning to the user."""
        self.handle(Note(text, is_warning=True))
