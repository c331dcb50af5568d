"""The cells of the benchmark: storage x study size x workers x sampler, one after another."""

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from optuna.trial import FrozenTrial

from benchmarks.scaling.prefill import prefill
from benchmarks.scaling.storages import Storage
from benchmarks.scaling.trial import TRAINING_SECONDS
from benchmarks.scaling.workers import SAMPLERS, NoAnswerError, Opening, Ran, Running, Workers

# In a study this large, the trials that cells add hardly matter, so all cells share one study.
_LARGE_STUDY = 5_000
# The longest wait for an operation that hangs in a database.
_GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """What to measure: `seconds` per cell; a trial is aborted `limit_seconds` after the start.

    No cell starts after `deadline`, a time of `time.monotonic`.
    """

    workers: Sequence[int]
    prefilled: Sequence[int]
    seconds: float
    limit_seconds: float
    deadline: float

    @property
    def longest_opening_seconds(self) -> float:
        """The seconds that all workers together may take to read a study."""
        return max(60.0, min(180.0, self.deadline - time.monotonic()))


def measure_cells(
    storage: Storage, plan: Plan, trials: list[FrozenTrial]
) -> Iterator[dict[str, Any]]:
    """Yields the result of each cell; `cut` says why a cell could not be measured."""
    workers = Workers(max(plan.workers))
    try:
        for size in plan.prefilled:
            study_name = ""
            for count in plan.workers:
                for sampler in SAMPLERS:
                    cell: dict[str, Any] = {
                        "storage": storage.name,
                        "prefilled": size,
                        "workers": count,
                        "sampler": sampler,
                    }
                    if time.monotonic() > plan.deadline:
                        yield {**cell, "cut": "skipped: the benchmark's time was over"}
                        continue
                    if not study_name or size < _LARGE_STUDY:
                        study_name = f"{storage.name}-{size}-{count}-{sampler}-{uuid.uuid4()}"
                        prefill(storage.database, study_name, trials, size)
                    try:
                        opening = Opening(storage.url, study_name)
                        yield {**cell, **_measure(workers, opening, cell, plan)}
                    except NoAnswerError as error:
                        workers.close()
                        workers = Workers(max(plan.workers))
                        yield {**cell, "cut": f"not measured: {error}"}
    finally:
        workers.close()


def _measure(
    workers: Workers, opening: Opening, cell: dict[str, Any], plan: Plan
) -> dict[str, Any]:
    opened = workers.ask(cell["workers"], opening, timeout=plan.longest_opening_seconds)
    running = Running(cell["sampler"], plan.seconds, plan.limit_seconds)
    psutil.cpu_percent()
    ran = workers.ask(cell["workers"], running, timeout=plan.limit_seconds + _GRACE_SECONDS)
    return {
        "trials_at_start": opened[0].trials,
        "opening_seconds": round(max(answer.seconds for answer in opened), 3),
        "worker_memory_mib": round(max(answer.memory_mib for answer in opened)),
        "machine_cpu_percent": psutil.cpu_percent(),
        **summarize(ran),
    }


def summarize(ran: Sequence[Ran]) -> dict[str, Any]:
    """Returns a cell's figures from the results of its workers.

    A worker's last trial ends after the cell's time, so each worker has its own duration.
    """
    trials = sum(one.trials for one in ran)
    merged: dict[str, list[float]] = {}
    for one in ran:
        for operation, seconds in one.latencies.items():
            merged.setdefault(operation, []).extend(seconds)
    cut = sum(one.cut for one in ran)
    errors = [one.error for one in ran if one.error is not None]
    return {
        "trials": trials,
        "trials_per_second": round(sum(one.trials / one.seconds for one in ran), 2),
        "ideal_trials_per_second": round(len(ran) / TRAINING_SECONDS, 2),
        "worker_cpu_seconds_per_trial": (
            round(sum(one.processor_seconds for one in ran) / trials, 4) if trials else None
        ),
        "latency_ms": {name: _latency(seconds) for name, seconds in merged.items()},
        "cut": f"{cut} of {len(ran)} workers aborted their last trial" if cut else None,
        "errors": errors,
    }


def _latency(seconds: list[float]) -> dict[str, float]:
    median, high = np.percentile(seconds, [50, 99]) * 1000
    return {"count": len(seconds), "median": round(median, 2), "p99": round(high, 2)}


def scaling(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the highest rate and the scaling limit for every storage, size and sampler.

    The limit is the largest number of workers with at least half of the ideal rate, which is that
    of one worker times their number; None if no other number of workers was measured.
    """
    rows = []
    keys = dict.fromkeys((c["storage"], c["prefilled"], c["sampler"]) for c in cells)
    for storage, size, sampler in keys:
        rates = {
            cell["workers"]: cell["trials_per_second"]
            for cell in cells
            if (cell["storage"], cell["prefilled"], cell["sampler"]) == (storage, size, sampler)
            and cell.get("trials_per_second")
        }
        row = {"storage": storage, "prefilled": size, "sampler": sampler}
        if 1 not in rates or len(rates) < 2:
            rows.append({**row, "trials_per_second": rates, "scales_to": None, "most": None})
            continue
        good = [count for count, rate in rates.items() if rate >= 0.5 * count * rates[1]]
        rows.append(
            {
                **row,
                "trials_per_second": rates,
                "scales_to": max(good),
                "most": max(rates.values()),
            }
        )
    return rows
