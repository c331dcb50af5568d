"""The command that trains a configuration."""

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import parse_bytes, parse_share
from search.cli.shared import (
    DATA_HELP,
    PROGRAM,
    CacheLimitOption,
    ClassWeights,
    FitOption,
    ImageSizeOption,
    LayoutOption,
    MaxBadFilesOption,
    Precision,
    RunsDirectoryOption,
    Xla,
    optional_duration,
    optional_image_size,
    shown_progress,
)

EPILOG = f"""\b
    Examples:
      {PROGRAM} retrain --config best.yaml --data path/to/images
      {PROGRAM} retrain --config best.yaml --data cifar10 --epochs 60 --budget 2h"""


def retrain(
    config: Annotated[
        Path,
        typer.Option(
            metavar="<file>",
            help="A configuration written by `export` or a run. It may name your own component "
            "files, which are executed: only use files that you trust.",
        ),
    ],
    data: Annotated[str, typer.Option(metavar="<source>", help=DATA_HELP)],
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="<number>", help="Epochs.  [default: the configuration's]"),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="<duration>", help="Time, such as 40m or 1h30m.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="<number>", help="Seeds everything.  [default: the configuration's]"
        ),
    ] = None,
    class_weights: Annotated[
        ClassWeights | None,
        typer.Option(
            help="Weight small classes more in training; auto does so if the classes differ in "
            "size and the metric benefits.  [default: the configuration's]"
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    fit: FitOption = None,
    max_bad_files: MaxBadFilesOption = "1%",
    layout: LayoutOption = "auto",
    precision: Annotated[
        Precision, typer.Option("--precision", help="Training precision; auto chooses by device.")
    ] = "auto",
    xla: Annotated[
        Xla, typer.Option("--xla", help="Compile with XLA; auto chooses by device.")
    ] = "auto",
    cache_limit: CacheLimitOption = "20G",
    runs_directory: RunsDirectoryOption = Path("runs"),
) -> None:
    """Trains, evaluates and exports a configuration, without a study database."""
    budget_seconds = optional_duration(budget, "--budget")
    size = optional_image_size(image_size)
    bad_files = parse_share(max_bad_files, option="--max-bad-files")
    cache_bytes = parse_bytes(cache_limit, option="--cache-limit")

    from search.configurations import retrain_from_configuration
    from search.data import DataSource
    from search.results.summary import summarize
    from search.storage.places import Places
    from search.system.runtime import Compute

    source = DataSource(
        location=data, image_size=size, fit=fit, max_bad_files=bad_files, layout=layout
    )
    with shown_progress() as progress:
        output = retrain_from_configuration(
            config,
            data=source,
            epochs=epochs,
            budget_seconds=budget_seconds,
            seed=seed,
            class_weights=class_weights,
            compute=Compute(precision=precision, xla=xla),
            places=Places(runs_directory=runs_directory, cache_limit=cache_bytes),
            progress=progress,
        )
    typer.echo(summarize(output))
