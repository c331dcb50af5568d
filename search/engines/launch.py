"""Chooses the engine for a search."""

from pathlib import Path

from search.engines.engine import Engine, InProcessEngine
from search.engines.local.engine import LocalEngine
from search.engines.ray.engine import RayEngine
from search.engines.workers import RayWorkers, Workers
from search.sizing.time_plan import TimePlan

_BRIEF_SECONDS = 60.0


def engine_for(workers: Workers, *, logs: Path) -> Engine:
    """Returns the engine for `workers`; local workers write their logs to the folder `logs`."""
    if isinstance(workers, RayWorkers):
        return RayEngine(workers)
    if workers.number == 0:
        return InProcessEngine(retries=workers.limits.retries)
    return LocalEngine(workers, logs=logs)


def without_needless_workers(engine: Engine, plan: TimePlan) -> Engine:
    """Returns the engine for a plan: a brief search trains in this process.

    A brief search would end before starting a worker process pays off.
    """
    brief = plan.search_seconds is not None and plan.search_seconds < _BRIEF_SECONDS
    if brief and isinstance(engine, LocalEngine) and engine.workers.number == "auto":
        return InProcessEngine(retries=engine.workers.limits.retries)
    return engine
