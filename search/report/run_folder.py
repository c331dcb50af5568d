"""A finished run, read back from its folder for a report."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.report.data import Calibration, RunFacts
from search.report.statistics import calibrate, wilson_interval
from search.results.finished_run import read_metrics
from search.results.plan import METRICS
from search.results.report_material import read_report_material


def read_run(directory: Path) -> RunFacts:
    """Returns what a report says about a finished run.

    Files that a report does not need may be missing. Raises UserError if the folder holds no
    finished run.
    """
    metrics = read_metrics(directory)
    test = metrics["test"]
    rows = _table(directory / "history.csv")
    configuration = directory / "best_config.yaml"
    model = directory / "model.keras"
    candidate = _json(directory / "best_config.json").get("candidate", {})
    recipe = metrics.get("recipe") or {}
    return RunFacts(
        directory=directory,
        study=metrics.get("study"),
        trial=metrics.get("trial"),
        recipe=recipe.get("name"),
        summary=str(candidate.get("summary", "")),
        test=test,
        interval=wilson_interval(round(test["accuracy"] * test["images"]), test["images"]),
        retraining=metrics["retraining"],
        openings=tuple(metrics.get("test_openings", ())),
        seconds_by_activity=metrics.get("seconds_by_activity", {}),
        history=tuple(_numbers(row) for row in rows),
        calibration=_calibration(directory / "test_predictions.csv"),
        environment=_json(directory / "environment.json"),
        configuration=_text(configuration),
        material=read_report_material(directory),
        model_bytes=model.stat().st_size if model.is_file() else None,
    )


def newest_run(parent: Path) -> Path | None:
    """Returns the newest finished run below a study's folder; None without one."""
    found = sorted(parent.glob(f"*/{METRICS}"), reverse=True)
    return found[0].parent if found else None


def _calibration(path: Path) -> Calibration | None:
    rows = _table(path)
    confidences = [float(row["probability"]) for row in rows]
    right = [row["true_class"] == row["predicted_class"] for row in rows]
    return calibrate(confidences, right)


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    numbers = {name: float(text) for name, text in row.items() if text}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
