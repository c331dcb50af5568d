"""The command line: parse, call, print. A command imports what it needs when it runs."""

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from cnn_blocks.errors import UserError
from search.cli import dashboard, demo, evaluate, export, predict, report, retrain, run, show
from search.cli import list as listing
from search.cli.shared import PROGRAM
from search.cli.storage import app as storage_commands
from search.errors import SearchFailure
from search.system.names import shown
from search.system.streams import escape_unencodable

app = typer.Typer(
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
app.command(name="list", epilog=listing.EPILOG)(listing.list_)
app.command(epilog=dashboard.EPILOG)(dashboard.dashboard)
app.command(epilog=export.EPILOG)(export.export)
app.command(epilog=retrain.EPILOG)(retrain.retrain)
app.command(epilog=predict.EPILOG)(predict.predict)
app.command(epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command(epilog=report.EPILOG)(report.report)
app.command(epilog=show.EPILOG)(show.show)
app.command(epilog=demo.EPILOG)(demo.demo)


def main(command: str | None = None, *, program: str = PROGRAM) -> NoReturn:
    """Runs the console script, or one of its commands for `python -m search.<command>`.

    `program` is the program's name in messages.

    Exit codes: 0 done, 1 a search without a result, 2 bad input, 130 interrupted.
    """
    if command is not None:
        program = f"python -m search.{command}"
    escape_unencodable()
    sys.exit(invoke(sys.argv[1:], command=command, program=program))


def invoke(arguments: Sequence[str], *, command: str | None = None, program: str = PROGRAM) -> int:
    """Runs the command line and returns its exit code; reports bad input in one line on stderr."""
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
    typer.echo(f"error: {shown(' '.join(message.split()))}", err=True)
