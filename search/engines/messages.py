"""What a worker says to its supervisor, beside the events of the search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from search.progress.clock import Activity
from search.progress.events import Event


@dataclass(frozen=True)
class Ready:
    """Everything is loaded: the worker waits for "go"."""


@dataclass(frozen=True)
class SignOfLife:
    """Work goes on."""


@dataclass(frozen=True)
class LogPosition:
    """A trial begins in the worker's log after so many bytes."""

    size: int


@dataclass(frozen=True)
class TimeSpent:
    """Seconds by activity since the last such message."""

    seconds: Mapping[Activity, float]


@dataclass(frozen=True)
class CannotWork:
    """The worker ends, and says why; `is_user_error` where the input is to blame."""

    text: str
    is_user_error: bool


@dataclass(frozen=True)
class Placed:
    """A Ray worker found room: the node's name and address, and the worker's own log there."""

    node: str
    address: str
    log: Path | None


Message: TypeAlias = Event | Ready | SignOfLife | LogPosition | TimeSpent | CannotWork | Placed
