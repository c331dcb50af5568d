"""Chooses the engine of a search."""

from pathlib import Path

from search.engines.engine import Engine, InProcessEngine
from search.engines.local.engine import LocalEngine
from search.engines.ray.engine import RayEngine
from search.engines.workers import RayWorkers, Workers
from search.sizing.time_plan import TimePlan

_BRIEF_SECONDS = 60.0


def engine_for(workers: Workers, *, logs: Path) -> Engine:
    """Returns the engine for some workers, who write their logs into a folder."""
    if isinstance(workers, RayWorkers):
        return RayEngine(workers)
    if workers.number == 0:
        return InProcessEngine(retries=workers.limits.retries)
    return LocalEngine(workers, logs=logs)


def without_needless_workers(engine: Engine, plan: TimePlan) -> Engine:
    """Returns the engine for a plan: a brief search trains in this process.

    It would be over before a process of its own had paid for its start.
    """
    brief = plan.search_seconds is not None and plan.search_seconds < _BRIEF_SECONDS
    if brief and isinstance(engine, LocalEngine) and engine.workers.number == "auto":
        return InProcessEngine(retries=engine.workers.limits.retries)
    return engine
