"""The command line: parse, call, print. What a command needs is imported when it runs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from cnn_blocks.errors import UserError
from search.errors import SearchFailure
from search.options import (
    parse_bytes,
    parse_duration,
    parse_image_size,
    parse_share,
    parse_workers,
)
from search.storage.commands import app as storage_commands

if TYPE_CHECKING:
    from search.progress import Progress
    from studies.study import LoadedStudy

PROGRAM = "cnn-search"

app = typer.Typer(
    add_completion=False,
    help="Searches, retrains, evaluates and exports convolutional networks for your images.",
    epilog=f"""\b
    Examples:
      {PROGRAM} run --study quickstart
      {PROGRAM} run --study depth_filters --data path/to/images --budget 40m
      {PROGRAM} list studies""",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(storage_commands, name="storage")

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "loss"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Xla = Literal["auto", "on", "off"]
Engine = Literal["local", "ray"]
Kind = Literal["studies", "spaces", "blocks", "heads", "backbones", "recipes", "data"]

# Options that several commands share.
DATA_HELP = "A named data set, a folder of images or an .npz file; `list data` shows them."
DataOption = Annotated[str | None, typer.Option("--data", metavar="<source>", help=DATA_HELP)]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="<url>",
        help="A database URL: sqlite:///FILE, postgresql+psycopg://USER@HOST/NAME, or "
        "grpc://HOST:PORT of `storage serve`.  [default: sqlite:///runs/studies.db]",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="<pixels>",
        help="Resize images to 96 or 96x128 (height x width).  [default: their commonest size]",
    ),
]
MaxBadFilesOption = Annotated[
    str,
    typer.Option(
        "--max-bad-files", metavar="<share>", help="Unreadable files to skip before giving up."
    ),
]
CacheLimitOption = Annotated[
    str,
    typer.Option(
        "--cache-limit",
        metavar="<size>",
        help="Disk for frozen backbones' features, such as 20G; 0 keeps none.",
    ),
]
RunsDirectoryOption = Annotated[
    Path, typer.Option("--runs-directory", metavar="<folder>", help="Where results are written.")
]


@app.command(
    epilog=f"""\b
    Examples:
      {PROGRAM} run --study quickstart
      {PROGRAM} run --study depth_filters --data path/to/images --budget 40m
      {PROGRAM} run --study path/to/my_study.py --data cifar10 --trials 50
      {PROGRAM} run --study full_cnn --data path/to/images --dry-run
      {PROGRAM} run --study fine_tune --backbone my_network.keras --data path/to/images
      {PROGRAM} run --study hand_made --data cifar10 --warm-start recipes
      {PROGRAM} run --recipe g3_homebrew --data cifar10
      {PROGRAM} run --hypermodel keras_tuner.applications.HyperResNet --data cifar10
      {PROGRAM} run --study depth_filters --data path/to/images --workers 4
      {PROGRAM} run --study depth_filters --data /shared/images --no-retrain \\
          --storage postgresql+psycopg://user@host/studies
      {PROGRAM} run --study depth_filters --data /shared/images --engine ray \\
          --storage postgresql+psycopg://user@host/studies --artifacts /shared/artifacts

    Ctrl-C stops in order; the same command goes on from there.

    \b
    Exit codes: 0 done, 1 nothing found, 2 wrong input, 130 interrupted."""
)
def run(
    study: Annotated[
        str | None,
        typer.Option(metavar="<name or file>", help="A study; `list studies` shows them."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="<name>",
            help="Instead of a study: train a published baseline; `list recipes` shows them.",
        ),
    ] = None,
    hypermodel: Annotated[
        str | None,
        typer.Option(
            metavar="<name>",
            help="Instead of a study: a Keras Tuner HyperModel, as package.Name or file.py:Name.",
        ),
    ] = None,
    data: DataOption = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<name or file>",
            help="For a transfer study: a network of keras.applications, or a .keras file; "
            "`NAME=none` for random weights. Repeat the option to search several.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="<number>", help="Trials in total.  [default: the study's]"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="<duration>",
            help="Time for the search, such as 40m or 1h30m.  [default: the study's]",
        ),
    ] = None,
    storage: StorageOption = None,
    study_name: Annotated[
        str | None,
        typer.Option(metavar="<name>", help="Name in the storage.  [default: the study's]"),
    ] = None,
    metric: Annotated[
        Metric | None,
        typer.Option(help="What ranks trials, on the validation images.  [default: the study's]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="<number>", help="Seeds everything.")] = 0,
    retrain_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="<number>",
            help="Epochs of the winner's training.  [default: the study's]",
        ),
    ] = None,
    retrain_budget: Annotated[
        str | None,
        typer.Option(metavar="<duration>", help="Time for the winner's training."),
    ] = None,
    image_size: ImageSizeOption = None,
    max_bad_files: MaxBadFilesOption = "1%",
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            help="Training precision; auto measures with --workers auto, else chooses by device.",
        ),
    ] = "auto",
    xla: Annotated[
        Xla,
        typer.Option(
            "--xla",
            help="Compile with XLA; auto measures with --workers auto, else chooses by device.",
        ),
    ] = "auto",
    cache_limit: CacheLimitOption = "20G",
    runs_directory: RunsDirectoryOption = Path("runs"),
    warm_start: Annotated[
        Literal["recipes"] | None,
        typer.Option(help="Begin with the published baselines that the study's space holds."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="<number or auto>",
            help="Worker processes; auto measures how many pay, 0 trains in this process.  "
            "[default: the study's; on Ray auto, as many as find room]",
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="<number>",
            help="How often a trial goes on after its process died.  [default: 2]",
        ),
    ] = None,
    stall_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="<duration>",
            help="A worker without a sign of life for so long is replaced; not with --workers 0.  "
            "[default: 15m]",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Where workers run: on this machine or on Ray.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="<host:port>", help="A running Ray cluster.  [default: RAY_ADDRESS, or auto]"
        ),
    ] = None,
    cpus_each: Annotated[
        float | None,
        typer.Option(metavar="<number>", help="CPUs of a worker on Ray.  [default: 1]"),
    ] = None,
    gpus_each: Annotated[
        float | None,
        typer.Option(
            metavar="<number>", help="GPUs of a worker on Ray, such as 0.5.  [default: 0]"
        ),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option("--retrain/--no-retrain", help="Retrain the winner, or end with the search."),
    ] = True,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="<folder or s3 url>",
            help="Keep results here, and checkpoints for all machines.  [default: results in "
            "artifacts of the runs directory, no checkpoints]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be searched, and stop.")
    ] = False,
) -> None:
    """Searches, then retrains, evaluates and exports the winner; or trains a recipe."""
    budget_seconds = _duration(budget, "--budget")
    retrain_budget_seconds = _duration(retrain_budget, "--retrain-budget")
    size = _image_size(image_size)
    bad_files = parse_share(max_bad_files, option="--max-bad-files")
    cache_bytes = parse_bytes(cache_limit, option="--cache-limit")
    worker_count = None if workers is None else parse_workers(workers, option="--workers")
    stall_seconds = _duration(stall_timeout, "--stall-timeout")

    if recipe is not None:
        _refuse_beside_recipe(
            recipe,
            {
                "--study": study,
                "--hypermodel": hypermodel,
                "--backbone": backbone or None,
                "--trials": trials,
                "--budget": budget,
                "--storage": storage,
                "--study-name": study_name,
                "--metric": metric,
                "--warm-start": warm_start,
                "--workers": workers,
                "--retries": retries,
                "--stall-timeout": stall_timeout,
                "--engine": None if engine == "local" else engine,
                "--address": address,
                "--cpus-each": cpus_each,
                "--gpus-each": gpus_each,
                "--no-retrain": None if retrain else True,
                "--artifacts": artifacts,
                "--dry-run": dry_run or None,
            },
        )
        from spaces.recipes import find_recipe

        find_recipe(recipe)  # a wrong name must not wait for the imports below
        if data is None:
            raise UserError(f"A recipe needs images; name them with --data FOLDER. {DATA_HELP}")

        from search.recipes import run_recipe

        with _progress() as progress:
            output = run_recipe(
                recipe,
                data=data,
                seed=seed,
                runs_directory=runs_directory,
                retrain_epochs=retrain_epochs,
                retrain_budget_seconds=retrain_budget_seconds,
                image_size=size,
                max_bad_files=bad_files,
                precision=precision,
                xla=xla,
                cache_limit=cache_bytes,
                progress=progress,
            )
        typer.echo(output.summary())
        return
    searched = _searched(study, hypermodel, backbone or [])
    if worker_count is None:
        worker_count = "auto" if engine == "ray" else searched.spec.workers

    from search import pipeline
    from search.attempts import DEFAULT_RETRIES
    from search.engines.job import DEFAULT_STALL_SECONDS, WorkerLimits
    from search.storage import DEFAULT_STORAGE

    if dry_run:
        from search.dry_run import dry_run as describe

        typer.echo(
            describe(
                searched,
                data=data,
                trials=trials,
                budget_seconds=budget_seconds,
                retrain_epochs=retrain_epochs,
                image_size=size,
                max_bad_files=bad_files,
                seed=seed,
                precision=precision,
                xla=xla,
                warm_start=warm_start,
                cache_limit=cache_bytes,
            )
        )
        return
    with _progress() as progress:
        result = pipeline.run_study(
            searched,
            data=data,
            trials=trials,
            budget_seconds=budget_seconds,
            storage=storage or DEFAULT_STORAGE,
            study_name=study_name,
            metric=metric,
            seed=seed,
            runs_directory=runs_directory,
            retrain_epochs=retrain_epochs,
            retrain_budget_seconds=retrain_budget_seconds,
            image_size=size,
            max_bad_files=bad_files,
            precision=precision,
            xla=xla,
            warm_start=warm_start,
            cache_limit=cache_bytes,
            workers=worker_count,
            limits=WorkerLimits(
                retries=DEFAULT_RETRIES if retries is None else retries,
                stall_seconds=stall_seconds or DEFAULT_STALL_SECONDS,
            ),
            engine=engine,
            address=address,
            cpus_each=cpus_each,
            gpus_each=gpus_each,
            retrain=retrain,
            artifacts=artifacts,
            progress=progress,
        )
    typer.echo(result.summary())


@app.command(
    name="list",
    epilog=f"""\b
    Examples:
      {PROGRAM} list
      {PROGRAM} list blocks
      {PROGRAM} list studies --json""",
)
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = "studies",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Lists studies, spaces, blocks, heads, backbones, recipes or data, one line each."""
    from search.listing import as_json, as_lines, entries

    found = entries(kind)
    typer.echo(as_json(found) if json else as_lines(found))


@app.command(
    epilog=f"""\b
    Examples:
      {PROGRAM} export --study depth_filters --to best.yaml
      {PROGRAM} export --study my_study --storage sqlite:///elsewhere.db --to best.json"""
)
def export(
    study: Annotated[str, typer.Option(metavar="<name>", help="A study's name in the storage.")],
    to: Annotated[Path, typer.Option(metavar="<file>", help="The file to write, .yaml or .json.")],
    storage: StorageOption = None,
) -> None:
    """Writes a study's best configuration into a file."""
    from search.export import export_best_configuration

    export_best_configuration(study, to, storage=storage)
    typer.echo(f"{to}\nnext: python -m search.retrain --config {to} --data <source>")


@app.command(
    epilog=f"""\b
    Examples:
      {PROGRAM} retrain --config best.yaml --data path/to/images
      {PROGRAM} retrain --config best.yaml --data cifar10 --epochs 60 --budget 2h"""
)
def retrain(
    config: Annotated[
        Path,
        typer.Option(
            metavar="<file>",
            help="A configuration that `export` or a run wrote. It may name your own component "
            "files, which are executed: use only files that you trust.",
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
    image_size: ImageSizeOption = None,
    max_bad_files: MaxBadFilesOption = "1%",
    precision: Annotated[
        Precision, typer.Option("--precision", help="Training precision; auto chooses by device.")
    ] = "auto",
    xla: Annotated[
        Xla, typer.Option("--xla", help="Compile with XLA; auto chooses by device.")
    ] = "auto",
    cache_limit: CacheLimitOption = "20G",
    runs_directory: RunsDirectoryOption = Path("runs"),
) -> None:
    """Trains, evaluates and exports a configuration; needs no study database."""
    budget_seconds = _duration(budget, "--budget")
    size = _image_size(image_size)
    bad_files = parse_share(max_bad_files, option="--max-bad-files")
    cache_bytes = parse_bytes(cache_limit, option="--cache-limit")

    from search.retrain import retrain_from_configuration

    with _progress() as progress:
        output = retrain_from_configuration(
            config,
            data=data,
            runs_directory=runs_directory,
            epochs=epochs,
            budget_seconds=budget_seconds,
            seed=seed,
            image_size=size,
            max_bad_files=bad_files,
            precision=precision,
            xla=xla,
            cache_limit=cache_bytes,
            progress=progress,
        )
    typer.echo(output.summary())


def main(command: str | None = None) -> NoReturn:
    """Runs the console script, or one of its commands as `python -m search.<command>` does.

    Exit codes: 0 done, 1 a search that found nothing, 2 bad input, 130 interrupted.
    """
    program = PROGRAM if command is None else f"python -m search.{command}"
    sys.exit(invoke(sys.argv[1:], command=command, program=program))


def invoke(arguments: Sequence[str], *, command: str | None = None, program: str = PROGRAM) -> int:
    """Runs the command line and returns its exit code; bad input becomes one line on stderr."""
    root = typer.main.get_command(app)
    target = root if command is None else root.commands[command]  # type: ignore[attr-defined]
    arguments = list(arguments) or ([] if command is not None else ["--help"])
    try:
        code = target.main(arguments, prog_name=program, standalone_mode=False)
    except typer.TyperException as error:
        rule = error.format_message().replace("Value error, ", "").rstrip(".")
        _print_error(f"{rule}. See `{program} --help`.")
        return 2
    except UserError as error:
        _print_error(str(error))
        return 2
    except SearchFailure as error:
        _print_error(str(error))
        return 1
    return code if isinstance(code, int) else 0


@contextmanager
def _progress() -> Iterator["Progress"]:
    """Shows progress while a command works; an interruption ends it with code 130."""
    from search.progress import make_progress

    try:
        with make_progress() as progress:
            yield progress
    except KeyboardInterrupt as interruption:
        typer.echo(str(interruption) or "interrupted", err=True)
        raise typer.Exit(130) from interruption


def _print_error(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)


def _refuse_beside_recipe(recipe: str, options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(
            f"A recipe is one training, not a search; received {', '.join(given)} beside "
            f"'--recipe {recipe}'. Leave out the one or the other, as in: "
            f"{PROGRAM} run --recipe {recipe} --data FOLDER"
        )


def _searched(study: str | None, hypermodel: str | None, backbones: Sequence[str]) -> "LoadedStudy":
    """Loads what is searched first: a wrong name must not wait for the other imports."""
    if study is not None and hypermodel is None:
        from studies.study import load_study

        return load_study(study).with_backbones(backbones)
    if hypermodel is not None and study is None and not backbones:
        from search.keras_tuner import hypermodel_study

        return hypermodel_study(hypermodel)
    options = [("--study", study), ("--hypermodel", hypermodel)]
    options += [("--backbone", backbone) for backbone in backbones]
    received = " ".join(f"{name} {value}" for name, value in options if value is not None)
    raise UserError(
        f"A run needs one of '--study' (`list studies`), '--recipe' (`list recipes`) and "
        f"'--hypermodel'; '--backbone' goes with a study; received {received or 'none'}. "
        f"Write one, as in: {PROGRAM} run --study depth_filters --data FOLDER"
    )


def _duration(text: str | None, option: str) -> float | None:
    return None if text is None else parse_duration(text, option=option)


def _image_size(text: str | None) -> int | tuple[int, int] | None:
    return None if text is None else parse_image_size(text, option="--image-size")
