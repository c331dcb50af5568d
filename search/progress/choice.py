"""How progress is shown: live on a terminal, a plain line per event elsewhere."""

from rich.console import Console

from search.progress.events import Progress
from search.progress.live import LiveProgress
from search.progress.plain import PlainProgress


def make_progress(console: Console | None = None) -> Progress:
    """Returns live progress where the console is a terminal, plain lines elsewhere."""
    console = console or Console()
    if not console.is_terminal or console.is_dumb_terminal:
        return PlainProgress(console)
    return LiveProgress(console)
