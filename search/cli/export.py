"""The command that writes a study's best configuration."""

from pathlib import Path
from typing import Annotated

import typer

from cnn_blocks.paths import user_path
from search.cli.shared import PROGRAM, RunsDirectoryOption, StorageOption
from search.system.printed_command import printed_command

EPILOG = f"""\b
    Examples:
      {PROGRAM} export --study depth_filters --to best.yaml
      {PROGRAM} export --study my_study --storage sqlite:///elsewhere.db --to best.json"""


def export(
    study: Annotated[str, typer.Option(metavar="<name>", help="A study's name in the storage.")],
    to: Annotated[Path, typer.Option(metavar="<file>", help="The file to write, .yaml or .json.")],
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
) -> None:
    """Writes a study's best configuration to a file."""
    from search.optimize.winner import export_best_configuration

    export_best_configuration(study, to, storage=storage, runs_directory=runs_directory)
    retraining = printed_command("python", "-m", "search.retrain", "--config", str(user_path(to)))
    typer.echo(f"{to}\nnext: {retraining} --data SOURCE")
