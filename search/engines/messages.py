"""Messages from a worker to its supervisor, in addition to the events of the search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from search.progress.clock import Activity
from search.progress.events import Event


@dataclass(frozen=True)
class Ready:
    """Everything is loaded; the worker waits for "go"."""


@dataclass(frozen=True)
class SignOfLife:
    """A heartbeat: the worker is alive and working."""


@dataclass(frozen=True)
class LogPosition:
    """The size of the worker's log, in bytes, when a trial starts."""

    size: int


@dataclass(frozen=True)
class TimeSpent:
    """Seconds per activity since the previous message of this kind."""

    seconds: Mapping[Activity, float]


@dataclass(frozen=True)
class CannotWork:
    """The worker exits for the reason in `text`; `is_user_error` if the input is at fault."""

    text: str
    is_user_error: bool


@dataclass(frozen=True)
class Placed:
    """Ray placed a worker: the node's ID and address, and the worker's log file on that node."""

    node: str
    address: str
    log: Path | None


Message: TypeAlias = Event | Ready | SignOfLife | LogPosition | TimeSpent | CannotWork | Placed
