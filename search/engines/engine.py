"""The interface of an engine, and the engine that runs trials in this process."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from search.optimize.loop import search
from search.trials.session import Session


class Engine(ABC):
    """Runs the trials of a search.

    `trains_here` is true if the process that calls `search` trains models itself, and therefore
    needs Keras and the device.
    """

    trains_here = False

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Connects to what the engine needs, before time is spent on anything else.

        Raises UserError if it cannot be reached.
        """
        yield

    @abstractmethod
    def search(self, session: Session) -> None:
        """Runs trials until the experiment's number of trials or the search time is reached.

        Raises SearchInterrupted after Ctrl-C, and SearchFailure if no trial completes.
        """


class InProcessEngine(Engine):
    """Runs trials in this process, one after another."""

    trains_here = True

    def __init__(self, *, retries: int) -> None:
        self._retries = retries

    def search(self, session: Session) -> None:
        search(session, retries=self._retries)
