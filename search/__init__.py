"""Searches architectures of image classifiers; what a program or a notebook needs is here.

`run_study` searches, retrains the winner, evaluates it once and exports it. Everything that is not
in `__all__` is private and may change.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_blocks.errors import UserError
    from search.configurations import retrain_from_configuration
    from search.data.source import DataSource
    from search.dry_run import DryRun, describe_study
    from search.engines.workers import LocalWorkers, RayWorkers, WorkerLimits
    from search.errors import SearchFailure, SearchInterrupted
    from search.optimize.budget import Budget
    from search.optimize.winner import best_configuration, load_stored_study
    from search.pipeline import run_study
    from search.progress.events import Progress
    from search.recipes import run_recipe
    from search.results.finished_run import open_run
    from search.results.predicting import Predictions, predict_files
    from search.results.run_result import RunOutput, RunResult
    from search.storage.places import Places
    from search.system.runtime import Compute
    from studies.study import StudySpec, list_studies

__all__ = [
    "Budget",
    "Compute",
    "DataSource",
    "DryRun",
    "LocalWorkers",
    "Places",
    "Predictions",
    "Progress",
    "RayWorkers",
    "RunOutput",
    "RunResult",
    "SearchFailure",
    "SearchInterrupted",
    "StudySpec",
    "UserError",
    "WorkerLimits",
    "best_configuration",
    "describe_study",
    "list_studies",
    "load_stored_study",
    "open_run",
    "predict_files",
    "retrain_from_configuration",
    "run_recipe",
    "run_study",
]

_MODULES = {
    "Budget": "search.optimize.budget",
    "Compute": "search.system.runtime",
    "DataSource": "search.data.source",
    "DryRun": "search.dry_run",
    "LocalWorkers": "search.engines.workers",
    "Places": "search.storage.places",
    "Predictions": "search.results.predicting",
    "Progress": "search.progress.events",
    "RayWorkers": "search.engines.workers",
    "RunOutput": "search.results.run_result",
    "RunResult": "search.results.run_result",
    "SearchFailure": "search.errors",
    "SearchInterrupted": "search.errors",
    "StudySpec": "studies.study",
    "UserError": "cnn_blocks.errors",
    "WorkerLimits": "search.engines.workers",
    "best_configuration": "search.optimize.winner",
    "describe_study": "search.dry_run",
    "list_studies": "studies.study",
    "load_stored_study": "search.optimize.winner",
    "open_run": "search.results.finished_run",
    "predict_files": "search.results.predicting",
    "retrain_from_configuration": "search.configurations",
    "run_recipe": "search.recipes",
    "run_study": "search.pipeline",
}


def __getattr__(name: str) -> Any:
    # The pipeline imports Optuna; the command line imports this package and must answer at once.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
