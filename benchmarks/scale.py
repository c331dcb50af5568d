"""Measures how far each storage scales, with simulated trials that sleep instead of training.

    python -m benchmarks.scale            # or: make bench-scale; at most about 15 minutes
    python -m benchmarks.scale --quick    # at most two

Every worker is a process that asks for a trial, suggests a network of the study `depth_filters`,
stores what a real trial stores, sleeps and reports four times, and tells. The "training" takes
0.1 s, so that few workers bring a storage to its limit. Workers, database and proxy share this
machine. The result is written to benchmarks/results/scale.json and scale.png.
"""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.scaling import presentation, storages
from benchmarks.scaling.cells import Plan, measure_cells, scaling
from benchmarks.scaling.growth import measure_growth
from benchmarks.scaling.prefill import draw_trials
from benchmarks.scaling.trial import REPORTS, SLEEP_SECONDS
from search.system.runtime import cpu_name

RESULTS = Path(__file__).parent / "results"
_WORKERS = (1, 4, 16)
# Networks repeat after this many; the measurement depends only on the number of trials.
_DIFFERENT_TRIALS = 500


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="Short cells, small studies, at most two minutes.")
    ] = False,
    postgresql: Annotated[
        str | None,
        typer.Option(help="URL of an empty database; the studies stay in it."),
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="Seconds after which no cell starts (840; quick: 75).")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds per cell (6; quick: 1.5).")] = None,
    results: Annotated[Path, typer.Option(help="The folder for the result.")] = RESULTS,
) -> None:
    """Measures every storage, writes the result, and prints it as Markdown tables."""
    began = time.monotonic()
    sizes = (100, 1_000) if quick else (100, 1_000, 10_000)
    seconds = seconds or (1.5 if quick else 6.0)
    limit = limit or (75.0 if quick else 840.0)
    trials = draw_trials(_DIFFERENT_TRIALS)
    growth = measure_growth(list(sizes), trials)
    cells: list[dict[str, Any]] = []
    left_out: list[str] = []
    with ExitStack() as stack:
        opened = _open_storages(stack, postgresql, left_out)
        for index, storage in enumerate(opened):
            # Each storage gets an equal share of the remaining time.
            left = began + limit - time.monotonic()
            deadline = time.monotonic() + left / (len(opened) - index)
            plan = Plan(_WORKERS, sizes, seconds, 3 * seconds, deadline)
            for cell in measure_cells(storage, plan, trials):
                cells.append(cell)
                rate = cell.get("trials_per_second", cell["cut"])
                typer.echo(
                    f"{storage.name}, {cell['prefilled']} trials, {cell['workers']} workers, "
                    f"{cell['sampler']}: {rate}",
                    err=True,
                )
    reach = scaling(cells)
    record = {
        "command": "python -m benchmarks.scale" + (" --quick" if quick else ""),
        "seconds": round(time.monotonic() - began),
        "trial": {
            "space": "depth_filters",
            "reports": REPORTS,
            "sleep_seconds": SLEEP_SECONDS,
            "cell_seconds": seconds,
        },
        "environment": _environment(),
        "left_out": left_out,
        "cells": cells,
        "scaling": reach,
        "growth": growth,
    }
    results.mkdir(parents=True, exist_ok=True)
    path = results / "scale.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    presentation.plot(cells, results / "scale.png")
    for text in (
        presentation.cells_table(cells),
        presentation.scaling_table(reach),
        presentation.growth_table(growth),
        *left_out,
    ):
        typer.echo(f"\n{text}")
    typer.echo(f"\n{path}: {record['seconds']} s")


def _open_storages(
    stack: ExitStack, url: str | None, left_out: list[str]
) -> list[storages.Storage]:
    sqlite = stack.enter_context(storages.sqlite())
    postgresql = stack.enter_context(_postgresql(url, left_out))
    proxy = stack.enter_context(storages.proxy(postgresql or sqlite))
    return [one for one in (sqlite, postgresql, proxy) if one is not None]


@contextmanager
def _postgresql(url: str | None, left_out: list[str]) -> Iterator[storages.Storage | None]:
    if url is not None:
        with storages.postgresql(url) as storage:
            yield storage
        return
    from tests.support.postgresql import private_cluster, what_is_missing

    missing = what_is_missing()
    if missing is not None:
        left_out.append(f"PostgreSQL is skipped: {missing}")
        yield None
        return
    with private_cluster() as cluster, storages.postgresql(cluster.new_database()) as storage:
        left_out.append(
            "PostgreSQL is a private server without fsync: commits do not wait for disk."
        )
        yield storage


def _environment() -> dict[str, Any]:
    names = ("optuna", "sqlalchemy", "psycopg", "grpcio", "numpy")
    return {
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    typer.run(main)
