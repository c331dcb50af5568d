"""What runs the trials of a search."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from search.optimize.loop import search
from search.trials.session import Session


class Engine(ABC):
    """Runs the trials of a search.

    `trains_here` tells whether the process that calls `search` trains itself, and so needs Keras
    and the device.
    """

    trains_here = False

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Reaches what the engine needs, before time is spent on anything else.

        Raises UserError where it cannot be reached.
        """
        yield

    @abstractmethod
    def search(self, session: Session) -> None:
        """Runs trials until the experiment's total or the search's time is reached.

        Raises SearchInterrupted after Ctrl-C, and SearchFailure when no trial completes.
        """


class InProcessEngine(Engine):
    """Runs trials in this process, one after another."""

    trains_here = True

    def __init__(self, *, retries: int) -> None:
        self._retries = retries

    def search(self, session: Session) -> None:
        search(session, retries=self._retries)
