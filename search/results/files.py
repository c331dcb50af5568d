"""The files that a run writes, each of them atomically."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.results.configuration_file import BestConfiguration, write_configuration
from search.system.files import write_text
from search.system.names import shown, spreadsheet_cell

if TYPE_CHECKING:
    import keras

    from search.data import Decoding, Subset
    from search.results.evaluate import ClassScores, Evaluation


def export_run(
    directory: str | Path,
    *,
    model: "keras.Model",
    configuration: BestConfiguration,
    history: Sequence[Mapping[str, Any]],
    evaluation: "Evaluation",
    test: "Subset",
    decoding: "Decoding",
    metrics: Mapping[str, Any],
    environment: Mapping[str, Any],
    search_curve: Sequence[tuple[float, float]] = (),
) -> None:
    """Writes all files of a finished run into a directory.

    metrics.json holds `metrics` and the evaluation's scores. It is written last: a directory that
    has it is complete. `search_curve` holds (epoch, value) pairs of the winning trial.
    """
    from search.results.exported_model import save_model
    from search.results.figures import draw_learning_curve
    from search.results.report_material import write_report_material

    directory = Path(directory)
    save_model(directory / "model.keras", model, evaluation.class_names, decoding)
    write_json(directory / "decoding.json", decoding.model_dump(mode="json"))
    write_configuration(directory / "best_config.json", configuration)
    write_configuration(directory / "best_config.yaml", configuration)
    write_table(directory / "history.csv", history)
    write_evaluation(directory, evaluation, test)
    write_json(directory / "environment.json", environment)
    draw_learning_curve(
        directory / "learning_curve.png",
        history,
        evaluation=evaluation,
        search_curve=search_curve,
        search_metric=configuration.metric or "accuracy",
    )
    write_report_material(directory, model, evaluation, test)
    write_json(directory / "metrics.json", {**metrics, "test": evaluation.metrics()})


def write_evaluation(directory: Path, evaluation: "Evaluation", subset: "Subset") -> None:
    """Writes the tables and pictures of an evaluation on a subset."""
    from search.results.figures import draw_confusion_matrix, draw_examples

    write_table(
        directory / "classification_report.csv",
        [vars(scores) for scores in _report_rows(evaluation)],
    )
    write_table(directory / "test_predictions.csv", prediction_rows(evaluation, subset))
    write_text(directory / "classification_report.txt", classification_report(evaluation))
    draw_confusion_matrix(directory / "confusion_matrix.png", evaluation)
    draw_examples(directory / "example_predictions.png", evaluation, subset)


def prediction_rows(evaluation: "Evaluation", test: "Subset") -> list[dict[str, Any]]:
    """Returns the file, true class, predicted class and its probability for every test image.

    Images from an array have their index in that array instead of a file.
    """
    names = evaluation.class_names
    rows = []
    for position, row in enumerate(test.indices.tolist()):
        source = {"index": row} if test.files is None else {"file": shown(test.files[row])}
        rows.append(
            {
                **source,
                "true_class": names[evaluation.labels[position]],
                "predicted_class": names[evaluation.predictions[position]],
                "probability": f"{evaluation.confidences[position]:.6f}",
            }
        )
    return rows


def classification_report(evaluation: "Evaluation") -> str:
    """Returns precision, recall, F1 and support of every class and their averages as a table."""
    rows = _report_rows(evaluation)
    names = [shown(row.name) for row in rows]
    width = max(map(len, names))
    lines = [f"{'':{width}}  {'precision':>9}  {'recall':>9}  {'f1':>9}  {'support':>9}"]
    for name, row in zip(names, rows, strict=True):
        if row is evaluation.macro_average:
            lines.append("")
        lines.append(
            f"{name:{width}}  {row.precision:9.4f}  {row.recall:9.4f}  {row.f1:9.4f}  "
            f"{row.support:9d}"
        )
    lines += [
        "",
        f"accuracy {evaluation.accuracy:.4f}, balanced accuracy "
        f"{evaluation.balanced_accuracy:.4f}, loss {evaluation.loss:z.4f}",
        f"AUC {evaluation.auc:.4f}, average precision {evaluation.average_precision:.4f}",
        f"accuracy of always predicting {evaluation.commonest_class!r}: "
        f"{evaluation.majority_accuracy:.4f}",
    ]
    return "\n".join(lines) + "\n"


def write_json(path: str | Path, content: Any) -> None:
    """Writes plain data as JSON; NaN and infinity, which JSON lacks, become null."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False))


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV with one column per key."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: spreadsheet_cell(cell) for key, cell in row.items()} for row in rows)
    write_text(path, text.getvalue())


def _report_rows(evaluation: "Evaluation") -> "list[ClassScores]":
    return [*evaluation.per_class, evaluation.macro_average, evaluation.weighted_average]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # NumPy scalars
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
