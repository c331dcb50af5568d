"""The command that writes a study's best configuration."""

from pathlib import Path
from typing import Annotated

import typer

from search.cli.shared import PROGRAM, StorageOption

EPILOG = f"""\b
    Examples:
      {PROGRAM} export --study depth_filters --to best.yaml
      {PROGRAM} export --study my_study --storage sqlite:///elsewhere.db --to best.json"""


def export(
    study: Annotated[str, typer.Option(metavar="<name>", help="A study's name in the storage.")],
    to: Annotated[Path, typer.Option(metavar="<file>", help="The file to write, .yaml or .json.")],
    storage: StorageOption = None,
) -> None:
    """Writes a study's best configuration into a file."""
    from search.optimize.winner import export_best_configuration

    export_best_configuration(study, to, storage=storage)
    typer.echo(f"{to}\nnext: python -m search.retrain --config {to} --data <source>")
