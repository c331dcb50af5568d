"""How a search runs: storage, trials, retraining, reports."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.pipeline import run_study
    from search.results.predicting import Predictions, predict_files
    from search.results.run_result import RunResult

__all__ = ["Predictions", "RunResult", "predict_files", "run_study"]

_MODULES = {
    "Predictions": "results.predicting",
    "RunResult": "results.run_result",
    "predict_files": "results.predicting",
    "run_study": "pipeline",
}


def __getattr__(name: str) -> Any:
    # The pipeline imports Optuna; the command line imports this package and must answer at once.
    if name in _MODULES:
        return getattr(importlib.import_module(f"search.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
