"""The command line: parse, call, print. What a command needs is imported when it runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.cli import retrain, run
from search.cli.shared import PROGRAM, StorageOption
from search.cli.storage import RunsDirectoryOption
from search.cli.storage import app as storage_commands
from search.errors import SearchFailure
from search.system.printed_command import printed_command

app = typer.Typer(
    add_completion=False,
    help="Searches, retrains, evaluates and exports convolutional networks for your images.",
    epilog=f"""\b
    Examples:
      {PROGRAM} run --study quickstart
      {PROGRAM} run --study depth_filters --data path/to/images --budget 40m
      {PROGRAM} list studies""",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(storage_commands, name="storage")
app.command(epilog=run.EPILOG)(run.run)

Kind = Literal["studies", "spaces", "blocks", "heads", "backbones", "recipes", "data"]


@app.command(
    name="list",
    epilog=f"""\b
    Examples:
      {PROGRAM} list
      {PROGRAM} list blocks
      {PROGRAM} list studies --json""",
)
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = "studies",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Lists studies, spaces, blocks, heads, backbones, recipes or data, one line each."""
    from search.cli.listing import as_json, as_lines, entries

    found = entries(kind)
    typer.echo(as_json(found) if json else as_lines(found))


@app.command(
    epilog=f"""\b
    Examples:
      {PROGRAM} export --study depth_filters --to best.yaml
      {PROGRAM} export --study my_study --storage sqlite:///elsewhere.db --to best.json"""
)
def export(
    study: Annotated[str, typer.Option(metavar="<name>", help="A study's name in the storage.")],
    to: Annotated[Path, typer.Option(metavar="<file>", help="The file to write, .yaml or .json.")],
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
) -> None:
    """Writes a study's best configuration into a file."""
    from search.results.files import export_best_configuration

    export_best_configuration(study, to, storage=storage, runs_directory=runs_directory)
    retraining = printed_command("python", "-m", "search.retrain", "--config", str(user_path(to)))
    typer.echo(f"{to}\nnext: {retraining} --data SOURCE")


app.command(epilog=retrain.EPILOG)(retrain.retrain)


def main(command: str | None = None) -> NoReturn:
    """Runs the console script, or one of its commands as `python -m search.<command>` does.

    Exit codes: 0 done, 1 a search that found nothing, 2 bad input, 130 interrupted.
    """
    program = PROGRAM if command is None else f"python -m search.{command}"
    sys.exit(invoke(sys.argv[1:], command=command, program=program))


def invoke(arguments: Sequence[str], *, command: str | None = None, program: str = PROGRAM) -> int:
    """Runs the command line and returns its exit code; bad input becomes one line on stderr."""
    root = typer.main.get_command(app)
    target = root if command is None else root.commands[command]  # type: ignore[attr-defined]
    arguments = list(arguments) or ([] if command is not None else ["--help"])
    try:
        code = target.main(arguments, prog_name=program, standalone_mode=False)
    except typer.TyperException as error:
        rule = error.format_message().replace("Value error, ", "").rstrip(".")
        _print_error(f"{rule}. See `{program} --help`.")
        return 2
    except UserError as error:
        _print_error(str(error))
        return 2
    except SearchFailure as error:
        _print_error(str(error))
        return 1
    return code if isinstance(code, int) else 0


def _print_error(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
