"""How a search runs: storage, trials, retraining, reports."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.pipeline import run_study
    from search.results.run_result import RunResult

__all__ = ["RunResult", "run_study"]


def __getattr__(name: str) -> Any:
    # The pipeline imports Optuna; the command line imports this package and must answer at once.
    if name in __all__:
        from search import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
