"""The command that shows a stored study in the terminal."""

import time
from pathlib import Path
from typing import Annotated

import typer

from search.cli.completion import stored_study_names
from search.cli.shared import (
    PROGRAM,
    JsonOption,
    RunsDirectoryOption,
    StorageOption,
    ended_by_interruption,
    print_json,
)

EPILOG = f"""\b
    Examples:
      {PROGRAM} show --study depth_filters
      {PROGRAM} show --study depth_filters --follow
      {PROGRAM} show --study depth_filters --top 3 --json"""

_SECONDS_BETWEEN_LOOKS = 2.0


def show(
    study: Annotated[
        str,
        typer.Option(
            metavar="<name>",
            help="A study's name in the storage.",
            autocompletion=stored_study_names,
        ),
    ],
    top: Annotated[
        int, typer.Option(min=1, metavar="<number>", help="How many of the best trials to show.")
    ] = 10,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Update the output as the study changes, until Ctrl-C."),
    ] = False,
    json: JsonOption = False,
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
) -> None:
    """Shows a study: its state, history, best trials and the importance of its parameters."""
    from rich.console import Console, RenderableType
    from rich.live import Live

    from search.optimize.winner import load_stored_study
    from search.report.terminal import render_study, study_as_data
    from search.report.trials import read_study
    from search.storage import default_storage, quiet_optuna

    console = Console()
    blocks = (console.encoding or "").lower().startswith("utf")
    with ended_by_interruption(), quiet_optuna():
        stored = load_stored_study(study, storage or default_storage(runs_directory))

        def look() -> RenderableType:
            return render_study(read_study(stored), top=top, blocks=blocks)

        if json:
            print_json(study_as_data(read_study(stored), top=top))
        elif not follow:
            console.print(look())
        elif console.is_terminal:
            with Live(look(), console=console, auto_refresh=False) as live:
                while True:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    live.update(look(), refresh=True)
        else:
            console.print(look())
            while True:
                time.sleep(_SECONDS_BETWEEN_LOOKS * 5)
                console.print()
                console.print(look())
