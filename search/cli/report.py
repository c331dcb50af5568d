"""The command that writes the report of a study, at any time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.cli.completion import stored_study_names
from search.cli.shared import PROGRAM, RunsDirectoryOption, StorageOption, ended_by_interruption

if TYPE_CHECKING:
    import optuna

EPILOG = f"""\b
    Examples:
      {PROGRAM} report --study depth_filters
      {PROGRAM} report --study depth_filters --compare full_cnn --compare blocks
      {PROGRAM} report --run runs/g3_homebrew/2026-11-20T11-40-56Z --output g3.html"""


def report(
    study: Annotated[
        str | None,
        typer.Option(
            metavar="<name>",
            help="A study's name in the storage.",
            autocompletion=stored_study_names,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="<folder>",
            help="The folder of a finished run.  [default: the study's newest one]",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<name or folder>",
            help="Another study, or another run's folder, to compare with; may be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="<file>",
            help="The .html file to write, with report.md next to it.  [default: report.html in "
            "the run's folder, or in the study's]",
        ),
    ] = None,
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
) -> None:
    """Writes a study's report as one HTML page and as Markdown, even during a search."""
    if study is None and run is None:
        raise UserError(
            "A report is about a study or a finished run; received neither. Fix: name one with "
            "--study NAME or --run FOLDER."
        )

    from search.optimize.winner import load_stored_study
    from search.report.run_folder import newest_run
    from search.report.writing import HTML, write_report
    from search.results.plan import METRICS
    from search.storage import default_storage

    url, runs = storage or default_storage(runs_directory), user_path(runs_directory)

    def found(name: str) -> "tuple[optuna.Study | None, Path | None]":
        folder = user_path(name)
        if (folder / METRICS).is_file():
            return None, folder
        return load_stored_study(name, url), newest_run(runs / name)

    with ended_by_interruption():
        stored = None if study is None else load_stored_study(study, url)
        folder = None if run is None else user_path(run)
        if folder is None and study is not None:
            folder = newest_run(runs / study)
        to = None if output is None else user_path(output)
        if to is None and folder is None and study is not None:
            to = runs / study / HTML
        others = [found(name) for name in compare or ()]
        written = write_report(stored, folder, to=to, others=others)
    typer.echo(f"{written}\n{written.with_suffix('.md')}")
