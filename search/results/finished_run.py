"""Reads a finished retraining from its folder instead of repeating it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_blocks.errors import UserError
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
                return _read(path.parent, metrics, retraining)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
            continue
    return None


def note_finished_run(output: RunOutput, retraining: "Retraining") -> None:
    """Notes that the result is an earlier one, and how to train again."""
    retraining.progress.note(
        f"nothing has changed since {output.directory} was written: its result is shown, and the "
        f"test images are not read again; --retrain-again trains the winner again"
    )


def _read(directory: Path, metrics: dict[str, Any], retraining: "Retraining") -> RunOutput:
    from search.results.evaluate import Evaluation

    return RunOutput(
        directory=directory,
        configuration=read_configuration(directory / "best_config.json"),
        model=load_model(directory / "model.keras"),
        evaluation=Evaluation.from_metrics(metrics["test"]),
        metrics=metrics,
        data=str(retraining.split.dataset.source),
        layout=retraining.split.dataset.layout,
        clock=retraining.clock,
    )
