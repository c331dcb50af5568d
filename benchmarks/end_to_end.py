"""Compares the results within a time budget: our search, its own default candidate, and peers.

    python -m benchmarks.end_to_end --data-cifar10 path/to/cifar10 --data-signs path/to/sign-digits
    python -m benchmarks.end_to_end ... --quick       # at most ten minutes, ours only
    python -m benchmarks.end_to_end --table --plot    # from the existing rows

Or: make bench-end-to-end DATA=path/to/cifar10 SIGNS=path/to/sign-digits ARGS="--backbone FILE"

Methods run one after another, with the same images and the same time; nothing else should run on
the machine. Each finished row is written to benchmarks/results/end_to_end.json immediately; the
same command resumes with the missing rows. All rows take about seven hours on 2 CPU cores. The
times were chosen for a machine that trains the reference network at 427 images/s; on a slower one,
lengthen them with `--scale-seconds`.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.comparison import machine, plot, tables
from benchmarks.comparison.measuring import FailedError, measure
from benchmarks.comparison.rows import Row, read_rows, write_row
from benchmarks.comparison.running import ROOT, cache_folder, outside_repository
from benchmarks.comparison.sources import Sources
from benchmarks.comparison.works import METHODS, WORKS, Job, planned, planned_quickly

RESULTS = Path(__file__).parent / "results"
_WORKS_HELP = f"Any of {', '.join(work.name for work in WORKS)}, separated by commas."
_METHODS_HELP = f"Any of {', '.join(METHODS)}, separated by commas. Default: each work's own."


def main(
    data_cifar10: Annotated[
        Path | None, typer.Option(help="CIFAR-10 as an image folder, train/ and test/.")
    ] = None,
    data_signs: Annotated[
        Path | None, typer.Option(help="Photos of hand signs, one folder per class.")
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option(help="The .keras file of a pretrained backbone.")
    ] = None,
    works: Annotated[str | None, typer.Option(help=_WORKS_HELP)] = None,
    methods: Annotated[str | None, typer.Option(help=_METHODS_HELP)] = None,
    seeds: Annotated[
        str | None, typer.Option(help="For example 0,1,2. Default: each work's own.")
    ] = None,
    scale_seconds: Annotated[
        float, typer.Option(min=0.01, help="Multiplies all times, for a slower machine.")
    ] = 1.0,
    work_folder: Annotated[
        Path | None,
        typer.Option("--work", help="Where runs write. Default: in the user's cache folder."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the files of finished rows.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure existing rows again.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Ours only, one seed, at most ten minutes.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Only print the tables.")] = False,
    draw: Annotated[bool, typer.Option("--plot", help="Only draw the plot.")] = False,
    results: Annotated[Path, typer.Option(help="The folder for the results.")] = RESULTS,
) -> None:
    """Measures the missing rows, then draws the plot and prints the tables."""
    # Separate files, so that quick rows are not mistaken for rows of the full benchmark.
    path = results / ("end_to_end_quick.json" if quick else "end_to_end.json")
    for given in (data_cifar10, data_signs, backbone):
        if given is not None and not given.expanduser().exists():
            raise typer.BadParameter(f"{given} does not exist.")
    failures = 0
    if not table and not draw:
        jobs = (
            list(planned_quickly())
            if quick
            else _planned(_names(works), _names(methods), _names(seeds))
        )
        sources = Sources(
            cifar10=data_cifar10,
            signs=data_signs,
            backbone=backbone,
            folder=outside_repository(work_folder or cache_folder("cnn-search-end-to-end")),
        )
        failures = _measure_all(
            jobs, sources, path, scale=scale_seconds, again=again or quick, keep=keep
        )
    rows = read_rows(path)
    if draw or not table:
        plot.draw(rows, path.with_suffix(".png"))
    if table or not draw:
        for text in (
            tables.accuracy_table(rows),
            tables.default_table(rows),
            tables.progress_table(rows),
        ):
            typer.echo(f"\n{text}")
    if failures:
        raise typer.Exit(1)


def _measure_all(
    jobs: Sequence[Job], sources: Sources, path: Path, *, scale: float, again: bool, keep: bool
) -> int:
    """Measures jobs one after another, writes their rows, and returns how many failed."""
    done = set() if again else {row.key for row in read_rows(path)}
    jobs = [job for job in jobs if job.key not in done]
    for work in dict.fromkeys(job.work.name for job in jobs if sources.missing(job)):
        job = next(job for job in jobs if job.work.name == work)
        typer.echo(f"{work} is left out: it needs {sources.missing(job)}", err=True)
    jobs = [job for job in jobs if not sources.missing(job)]
    if not jobs:
        typer.echo("All rows that can be measured exist; --again measures them again.", err=True)
        return 0
    speed = _reference_speed()
    if speed * scale < 0.9 * machine.REFERENCE_SPEED:
        typer.echo(
            f"This machine trains the reference network at {speed} images/s; the times were chosen "
            f"for {machine.REFERENCE_SPEED}. Fix: if nothing else is running here, give "
            f"--scale-seconds {machine.REFERENCE_SPEED / speed:.2f}",
            err=True,
        )
    state = {**machine.describe_machine(), "reference_images_per_second": speed}
    hours = sum(job.work.minutes for job in jobs) * scale / 60
    typer.echo(f"{len(jobs)} rows, {hours:.1f} hours; {state}", err=True)
    failures = 0
    for job in jobs:
        try:
            row = _measure_one(job, sources, state, scale)
        except FailedError as error:
            failures += 1
            typer.echo(f"{job.name} failed: {error}", err=True)
            continue
        write_row(path, row)
        typer.echo(f"{job.name}: {row.test_accuracy:.4f} after {row.seconds:.0f} s", err=True)
        if not keep:
            shutil.rmtree(sources.run_folder(job), ignore_errors=True)
    return failures


def _measure_one(job: Job, sources: Sources, state: dict[str, Any], scale: float) -> Row:
    source = sources.prepare(job)
    seconds = round(60 * job.work.minutes * scale, 1)
    load, busy = os.getloadavg()[0], machine.busy_now()
    if busy > machine.BUSY:
        _warn_busy(job, busy, "before it began")
    others = machine.OthersUse()
    measured = measure(
        job,
        source=source,
        seconds=seconds,
        folder=sources.run_folder(job),
        backbone=sources.backbone_of(job),
    )
    during = others.share()
    if during > machine.BUSY:
        _warn_busy(job, during, "while it ran")
    return Row(
        work=job.work.name,
        method=job.method,
        seed=job.seed,
        given_seconds=seconds,
        seconds=measured.seconds,
        test_accuracy=measured.test_accuracy,
        test_images=measured.test_images,
        curve=measured.curve,
        winner=measured.winner,
        command=measured.command,
        machine={
            **state,
            "dtype_policy": measured.dtype_policy,
            "load": round(load, 2),
            "busy_before": busy,
            "busy_during": during,
        },
    )


def _warn_busy(job: Job, share: float, when: str) -> None:
    typer.echo(
        f"{job.name}: other programs used {share:.0%} of this machine {when}; the row records it.",
        err=True,
    )


def _reference_speed() -> int:
    # In a separate process, so that Keras holds no memory while the rows are measured.
    command = [sys.executable, "-m", "benchmarks.comparison.speed"]
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(answer.stdout.split()[-1])


def _planned(
    works: list[str] | None, methods: list[str] | None, seeds: list[str] | None
) -> list[Job]:
    try:
        numbers = None if seeds is None else [int(seed) for seed in seeds]
        return list(planned(works=works, methods=methods, seeds=numbers))
    except KeyError as error:
        raise typer.BadParameter(f"There is no work or method {error.args[0]!r}.") from error
    except ValueError as error:
        raise typer.BadParameter(f"Seeds must be integers, such as 0,1,2: {error}.") from error


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    # Without this, the measured command would outlive the benchmark.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.run(main)
