"""Chooses the display of progress: live on a terminal, one plain line per event elsewhere."""

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
