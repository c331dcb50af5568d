"""Chooses the display of progress: live on a terminal, one plain line per event elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console

from search.progress.events import Progress
from search.progress.live import LiveProgress
from search.progress.plain import PlainProgress


def make_progress(console: Console | None = None) -> Progress:
    """Returns live progress if the console is a terminal, otherwise plain lines."""
    console = console or Console()
    if not console.is_terminal or console.is_dumb_terminal:
        return PlainProgress(console)
    return LiveProgress(console)


@contextmanager
def chosen_progress(progress: Progress | Literal["auto"] | None) -> Iterator[Progress]:
    """Yields the progress of a call from Python; its own is started and ended by the caller.

    "auto" shows progress in a terminal and in a notebook, and nothing elsewhere; None shows none.
    """
    if progress is None or isinstance(progress, Progress):
        yield progress or Progress()
        return
    console = Console()
    if not (console.is_terminal or console.is_jupyter):
        yield Progress()
        return
    with make_progress(console) as shown:
        yield shown
