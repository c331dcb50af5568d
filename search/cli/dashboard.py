"""The command that shows studies in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from search.cli.browser import open_in_browser
from search.cli.shared import PROGRAM, RunsDirectoryOption, StorageOption

EPILOG = f"""\b
    Examples:
      {PROGRAM} dashboard
      {PROGRAM} dashboard --runs-directory my_project --no-browser
      {PROGRAM} dashboard --storage postgresql+psycopg://host/studies --artifacts s3://bucket/cnn

    Press Ctrl-C to stop. From another machine: ssh -L 8080:localhost:8080 HOST."""


def dashboard(
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="<place>",
            help="Where the results are: FOLDER or s3://BUCKET/PREFIX.  [default: artifacts in the "
            "runs directory]",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="<name>", help="The interface to listen on; 0.0.0.0 is open to other machines."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, metavar="<number>", help="The port.  [default: 8080, or a free one]"
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in a browser on this machine.")
    ] = True,
) -> None:
    """Shows the studies, their trials and the winners' files in a browser."""
    from search.maintenance.dashboard import is_loopback, run_dashboard
    from search.storage.opening import default_storage, quiet_optuna

    def announce(address: str) -> None:
        if not is_loopback(host):
            typer.echo(
                "warning: the dashboard has no login: anyone who can reach this address can change "
                "and delete the studies",
                err=True,
            )
        typer.echo(f"{address}  (press Ctrl-C to stop)")
        if browser:
            open_in_browser(address)

    with quiet_optuna():
        run_dashboard(
            storage or default_storage(runs_directory),
            artifacts=artifacts,
            default_artifacts=runs_directory / "artifacts",
            host=host,
            port=port,
            announce=announce,
        )
    typer.echo("the dashboard has stopped")
