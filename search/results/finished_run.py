"""Reads a finished retraining from its folder instead of repeating it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.progress.clock import Clock
from search.results.configuration_file import read_configuration
from search.results.exported_model import load_model
from search.results.plan import METRICS
from search.results.run_result import RunOutput

if TYPE_CHECKING:
    from search.results.plan import Retraining


def find_finished_run(parent: Path, retraining: "Retraining") -> RunOutput | None:
    """Returns the newest finished run of an identical retraining in `parent`, or None.

    The test images are not read: the scores come from metrics.json, and the evaluation has no
    predictions for single images. A folder that cannot be read is skipped.
    """
    for path in sorted(parent.glob(f"*/{METRICS}"), reverse=True):
        try:
            metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if metrics["retraining"].get("identity") == retraining.identity:
                dataset = retraining.split.dataset
                return _read(
                    path.parent,
                    metrics,
                    data=str(dataset.source),
                    layout=dataset.layout,
                    clock=retraining.clock,
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
            continue
    return None


def note_finished_run(output: RunOutput, retraining: "Retraining") -> None:
    """Notes that the result is an earlier one, and how to train again."""
    retraining.progress.note(
        f"nothing has changed since {output.directory} was written: its result is shown, and the "
        f"test images are not read again; --retrain-again trains the winner again"
    )


def open_run(directory: str | Path) -> RunOutput:
    """Opens the folder of a finished run: its model, configuration, metrics and scores.

    The test images stay closed: the scores are those of metrics.json, and the evaluation holds no
    predictions of single images. Raises UserError for a folder that holds no finished run.
    """
    folder = user_path(directory)
    metrics, record = read_metrics(folder), read_environment(folder)
    return _read(folder, metrics, data=str(record["data"]["source"]), layout="auto", clock=Clock())


def read_metrics(directory: Path) -> dict[str, Any]:
    """Returns what metrics.json of a finished run holds; raises UserError if there is none."""
    return _read_json(directory / METRICS, {"test", "retraining"})


def read_environment(directory: Path) -> dict[str, Any]:
    """Returns what environment.json of a finished run holds; raises UserError if there is none."""
    return _read_json(directory / "environment.json", {"data", "split"})


def _read_json(path: Path, keys: set[str]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not keys <= found.keys():
            raise ValueError("it is not that of a run")
    except (OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"A finished run is a folder with model.keras, metrics.json and environment.json; "
            f"{path}: {reason}. Fix: name a folder that `run` wrote, such as "
            f"runs/STUDY/2026-11-20T11-40-56Z."
        ) from error
    return found


def _read(
    directory: Path, metrics: dict[str, Any], *, data: str, layout: str, clock: Clock
) -> RunOutput:
    from search.results.evaluate import Evaluation

    return RunOutput(
        directory=directory,
        configuration=read_configuration(directory / "best_config.json"),
        model=load_model(directory / "model.keras"),
        evaluation=Evaluation.from_metrics(metrics["test"]),
        metrics=metrics,
        data=data,
        layout=layout,
        clock=clock,
    )
