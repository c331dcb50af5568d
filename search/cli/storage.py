"""The command line of the storage: check, backup, copy and serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cnn_blocks.paths import user_path
from search.cli.shared import JsonOption, RunsDirectoryOption
from search.system.interruption import Interruption
from search.system.printed_command import printed_command

_PROGRAM = "cnn-search storage"
_DATABASES = "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="<url>",
        help="Where studies are stored.  [default: studies.db in the runs directory]",
    ),
]

app = typer.Typer(
    add_completion=False,
    help="Checks, backs up, copies and serves the storage of studies.",
    epilog=f"""\b
    Examples:
      {_PROGRAM} check
      {_PROGRAM} backup --to studies.backup.db
      {_PROGRAM} copy --from sqlite:///runs/studies.db --to postgresql+psycopg://host/studies
      {_PROGRAM} serve --storage sqlite:///runs/studies.db --port 13000""",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def storage(context: typer.Context) -> None:
    """Shows the help if no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog=f"""\b
    Examples:
      {_PROGRAM} check
      {_PROGRAM} check --storage sqlite:///runs/studies.db --study depth_filters
      {_PROGRAM} check --storage postgresql+psycopg://user:password@host/studies --json

    Changes nothing. Exit codes: 0 sound, 1 damaged, 2 no such storage or study."""
)
def check(
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
    study: Annotated[
        str | None, typer.Option(metavar="<name>", help="Only this study.  [default: all]")
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="<place>", help="Where the artifacts are: FOLDER or s3://BUCKET/PREFIX."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Reports whether a storage is sound, and what it contains."""
    with _working():
        from rich.console import Console

        from search.maintenance.check import check_storage
        from search.maintenance.showing import as_json, show
        from search.storage.opening import default_storage

        report = check_storage(
            storage or default_storage(runs_directory), study=study, artifacts=artifacts
        )
        if json:
            typer.echo(as_json(report))
        else:
            show(report, Console(highlight=False))
    if not report.sound:
        raise typer.Exit(1)


@app.command(
    epilog=f"""\b
    Examples:
      {_PROGRAM} backup --to studies.backup.db
      {_PROGRAM} backup --storage sqlite:///runs/studies.db --to /mnt/backups/monday.db

    Searches continue during the backup. Back up PostgreSQL with pg_dump, or `copy` it to a file."""
)
def backup(
    to: Annotated[
        Path, typer.Option(metavar="<file>", help="The new file; it must not exist yet.")
    ],
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
) -> None:
    """Backs up an SQLite storage, also while searches are running."""
    with _working():
        from search.maintenance.backup import back_up
        from search.storage.opening import default_storage, sqlite_url

        to = user_path(to)
        back_up(storage or default_storage(runs_directory), to)
        url = sqlite_url(to)
    check = printed_command(*_PROGRAM.split(), "check", "--storage", url)
    typer.echo(f"{to}\nnext: {check}")


@app.command(
    epilog=f"""\b
    Examples:
      {_PROGRAM} copy --from sqlite:///runs/studies.db --to postgresql+psycopg://host/studies
      {_PROGRAM} copy --from postgresql+psycopg://host/studies --to sqlite:///here.db
      {_PROGRAM} copy --from sqlite:///a.db --to sqlite:///b.db --study depth_filters

    Copies all studies or none. The same `run` command with the new --storage resumes there."""
)
def copy(
    source: Annotated[
        str, typer.Option("--from", metavar="<url>", help=f"The database to read: {_DATABASES}.")
    ],
    to: Annotated[str, typer.Option(metavar="<url>", help="The database to add the studies to.")],
    study: Annotated[
        str | None, typer.Option(metavar="<name>", help="Only this study.  [default: all]")
    ] = None,
    with_running: Annotated[
        bool,
        typer.Option(
            "--with-running",
            help="Copy RUNNING trials as they are, even if a worker may still be running them.",
        ),
    ] = False,
) -> None:
    """Copies studies from one database into another."""
    with _working():
        from search.maintenance.copying import copy_studies

        copied = copy_studies(source, to, study=study, with_running=with_running)
    for found in copied:
        typer.echo(f"{found.name}: {found.trials:,} trials")
        for running in found.running:
            typer.echo(f"note: {running.describe()}; copied as it is", err=True)


@app.command(
    epilog=f"""\b
    Examples:
      {_PROGRAM} serve
      {_PROGRAM} serve --storage postgresql+psycopg://host/studies --host 0.0.0.0 --threads 32

    Anyone who can reach the port can read and change the studies: serve only to trusted networks.
    Ctrl-C shuts the server down cleanly; clients wait two minutes for its return."""
)
def serve(
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
    host: Annotated[
        str,
        typer.Option(metavar="<name>", help="The interface to listen on; 0.0.0.0 means all."),
    ] = "localhost",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="<number>", help="The port; 0 chooses a free one."),
    ] = 13000,
    threads: Annotated[
        int, typer.Option(min=1, metavar="<number>", help="Calls answered in parallel.")
    ] = 10,
) -> None:
    """Serves a storage to many workers over the network."""
    with _working(interruption=False):
        from search.maintenance.serving import serve as serve_storage
        from search.storage.opening import default_storage

        url = storage or default_storage(runs_directory)

        def announce(address: str) -> None:
            typer.echo(f"clients connect with --storage {address}; Ctrl-C stops the server")

        serve_storage(url, host=host, port=port, threads=threads, announce=announce)


@contextmanager
def _working(*, interruption: bool = True) -> Iterator[None]:
    """Ends a command cleanly: exit code 130 after a signal, 1 if a storage is damaged."""
    from search.maintenance.damage import DamagedStorageError
    from search.storage.opening import quiet_optuna

    try:
        with quiet_optuna():
            if interruption:
                with Interruption():
                    yield
            else:
                yield
    except KeyboardInterrupt as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from error
    except DamagedStorageError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
