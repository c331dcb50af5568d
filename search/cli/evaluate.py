"""The command that evaluates an exported model on labelled images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import parse_share
from search.cli.shared import (
    DATA_HELP,
    JsonOption,
    LayoutOption,
    MaxBadFilesOption,
    ended_by_interruption,
    print_json,
)
from search.system.names import shown

if TYPE_CHECKING:
    from search.exports.evaluating import EvaluationOutput

EPILOG = """\b
    Examples:
      python -m search evaluate --model RUN/model.keras --data path/to/images
      python -m search evaluate --model RUN/model_int8.tflite --data photos.zip --output evaluation

    Images are decoded as the model's training images were. A data set with its own test images is
    evaluated on them, any other data set on all images."""


def evaluate(
    model: Annotated[
        Path,
        typer.Option(
            metavar="<file>", help="The model.keras of a run, or a file that `export` wrote."
        ),
    ],
    data: Annotated[str, typer.Option(metavar="<source>", help=DATA_HELP)],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="<folder>",
            help="A new folder for tables and pictures.  [default: in evaluations, next to the "
            "model]",
        ),
    ] = None,
    max_bad_files: MaxBadFilesOption = "1%",
    layout: LayoutOption = "auto",
    json: JsonOption = False,
) -> None:
    """Evaluates an exported model on any images with the same classes."""
    bad_files = parse_share(max_bad_files, option="--max-bad-files")

    from search.data import DataSource
    from search.exports.evaluating import evaluate_file

    source = DataSource(location=data, max_bad_files=bad_files, layout=layout)
    with ended_by_interruption():
        evaluated = evaluate_file(model, source, output=output)
    if json:
        print_json({"folder": str(evaluated.directory), **evaluated.record})
    else:
        typer.echo(_summary(evaluated))


def _summary(output: "EvaluationOutput") -> str:
    found = output.evaluation
    rows = [
        ("images", output.images),
        (
            "scores",
            f"accuracy {found.accuracy:.4f}, loss {found.loss:z.4f}, macro F1 {found.macro_f1:.4f}",
        ),
        (
            "",
            f"balanced accuracy {found.balanced_accuracy:.4f}, AUC {found.auc:.4f}, average "
            f"precision {found.average_precision:.4f}",
        ),
        (
            "baseline",
            f"accuracy {found.majority_accuracy:.4f} by always answering "
            f"'{shown(found.commonest_class)}'",
        ),
        ("files", f"{output.directory}/"),
        ("", "metrics.json, classification_report.txt, test_predictions.csv,"),
        ("", "confusion_matrix.png, example_predictions.png"),
    ]
    return "\n".join(f"{label:12}{text}" for label, text in rows)
