"""The command that predicts image files."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnn_blocks.errors import UserError
from search.cli.shared import (
    Fit,
    JsonOption,
    ended_by_interruption,
    optional_image_size,
    print_json,
)
from search.system.names import shown, spreadsheet_cell

if TYPE_CHECKING:
    from search.results.predicting import Predictions

EPILOG = """\b
    Examples:
      python -m search predict --model RUN/model.keras photo.jpg
      python -m search predict --model RUN/model.keras path/to/photos --csv > predictions.csv
      python -m search predict --model RUN/model.keras path/to/photos --json --top 5

    \b
    Exit codes: 0 done, 1 some files could not be read, 2 wrong input."""


def predict(
    files: Annotated[
        list[Path], typer.Argument(metavar="<file or folder>...", help="Images or folders of them.")
    ],
    model: Annotated[Path, typer.Option(metavar="<file>", help="The model.keras of a run.")],
    top: Annotated[
        int, typer.Option(min=1, metavar="<number>", help="How many top classes to show.")
    ] = 3,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: file, rank, class, probability.")
    ] = False,
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="<pixels>",
            help="Only for a model that does not record it: 96 or 96x128 (height x width).",
        ),
    ] = None,
    fit: Annotated[
        Fit | None, typer.Option(help="Only for a model that does not record it.")
    ] = None,
) -> None:
    """Predicts images, decoded exactly as the model's training images were."""
    if as_json and as_csv:
        raise UserError(
            "Predictions have one output format; received --json and --csv. Fix: leave out one."
        )
    size = optional_image_size(image_size)

    from rich.console import Console
    from rich.progress import Progress

    from search.results.predicting import Predictor

    with ended_by_interruption():
        predictor = Predictor(model, image_size=size, fit=fit)
        # On standard error, because standard output is for the predictions; nothing in a pipe.
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("predicting", total=None)
            predictions = predictor.predict(
                files,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    for note in predictions.notes:
        typer.echo(f"note: {shown(note)}", err=True)
    if as_json:
        print_json(_objects(predictions, top))
    elif as_csv:
        typer.echo(_csv(predictions, top), nl=False)
    elif predictions.files:
        typer.echo(_lines(predictions, top))
    for file, reason in predictions.unreadable:
        typer.echo(f"cannot be read: {shown(file)} ({shown(reason)})", err=True)
    if predictions.unreadable:
        raise typer.Exit(1)


def _lines(predictions: "Predictions", top: int) -> str:
    names = [shown(file) for file in predictions.files]
    width = max(map(len, names))
    return "\n".join(
        f"{name:{width}}  "
        + "  ".join(f"{shown(found)} {share:.1%}" for found, share in predictions.best(row, top))
        for row, name in enumerate(names)
    )


def _objects(predictions: "Predictions", top: int) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = [
        {
            "file": shown(file),
            "predictions": [
                {"class": name, "probability": share} for name, share in predictions.best(row, top)
            ],
        }
        for row, file in enumerate(predictions.files)
    ]
    objects += [{"file": shown(file), "error": reason} for file, reason in predictions.unreadable]
    return objects


def _csv(predictions: "Predictions", top: int) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "rank", "class", "probability"])
    for row, file in enumerate(predictions.files):
        for rank, (name, share) in enumerate(predictions.best(row, top), start=1):
            cells = [shown(file), rank, name, f"{share:.6f}"]
            writer.writerow([spreadsheet_cell(cell) for cell in cells])
    return text.getvalue()
