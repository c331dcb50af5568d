"""The command that starts a web page to try a model."""

from pathlib import Path
from typing import Annotated

import typer

from cnn_blocks.errors import UserError
from search.cli.browser import open_in_browser
from search.cli.shared import PROGRAM

EPILOG = f"""\b
    Examples:
      {PROGRAM} demo --model RUN/model.keras
      {PROGRAM} demo --model RUN/model.keras --port 8000 --no-browser"""


def demo(
    model: Annotated[Path, typer.Option(metavar="<file>", help="The model.keras of a run.")],
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="<number>", help="The port; 0: a free one."),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Serves a page on this machine: drop an image, see its classes. Ctrl-C stops it."""
    from search.demo.server import DemoServer
    from search.results.predicting import Predictor

    predictor = Predictor(model)
    for note in predictor.notes:
        typer.echo(f"note: {note}", err=True)
    try:
        server = DemoServer(predictor, title=str(model), port=port)
    except OSError as error:
        raise UserError(
            f"The page needs a free port; received {port}: {error.strerror or error}. Fix: name "
            f"another one with --port, or leave out --port."
        ) from error
    with server:
        typer.echo(f"{server.address}   (press Ctrl-C to stop)")
        if browser:
            open_in_browser(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("ended")
