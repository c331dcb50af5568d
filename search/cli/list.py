"""The command that lists studies, components, recipes and data."""

from typing import Annotated

import typer

from search.cli.shared import PROGRAM, JsonOption, Kind

EPILOG = f"""\b
    Examples:
      {PROGRAM} list
      {PROGRAM} list blocks
      {PROGRAM} list studies --json"""


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = "studies",
    json: JsonOption = False,
) -> None:
    """Lists studies, spaces, blocks, heads, backbones, recipes or data, one per line."""
    from search.cli.available import as_json, as_lines, available

    found = available(kind)
    typer.echo(as_json(found) if json else as_lines(found))
