"""The command that searches and then retrains the winner, or that trains a recipe."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cnn_blocks.errors import UserError
from search.cli.completion import shipped_study_names
from search.cli.options import parse_bytes, parse_share, parse_workers
from search.cli.shared import (
    DATA_HELP,
    PROGRAM,
    CacheLimitOption,
    ClassWeights,
    DataOption,
    FitOption,
    ImageSizeOption,
    LayoutOption,
    MaxBadFilesOption,
    Precision,
    RunsDirectoryOption,
    StorageOption,
    Xla,
    optional_duration,
    optional_image_size,
    print_json,
    shown_progress,
)
from search.system.printed_command import printed_command

if TYPE_CHECKING:
    from studies.study import LoadedStudy

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision", "loss"]
Engine = Literal["local", "ray"]

EPILOG = f"""\b
    Examples:
      {PROGRAM} run --data path/to/images
      {PROGRAM} run --study quickstart
      {PROGRAM} run --study depth_filters --data path/to/images --budget 40m
      {PROGRAM} run --study path/to/my_study.py --data cifar10 --trials 50
      {PROGRAM} run --study full_cnn --data path/to/images --dry-run
      {PROGRAM} run --study full_cnn --data path/to/images --dry-run --json
      {PROGRAM} run --study fine_tune --backbone my_network.keras --data path/to/images
      {PROGRAM} run --study hand_made --data cifar10 --warm-start recipes
      {PROGRAM} run --recipe g3_homebrew --data cifar10
      {PROGRAM} run --hypermodel keras_tuner.applications.HyperResNet --data cifar10
      {PROGRAM} run --study depth_filters --data path/to/images --workers 4
      {PROGRAM} run --study depth_filters --data /shared/images --no-retrain \\
          --storage postgresql+psycopg://user@host/studies
      {PROGRAM} run --study depth_filters --data /shared/images --engine ray \\
          --storage postgresql+psycopg://user@host/studies --artifacts /shared/artifacts

    Ctrl-C stops cleanly; run the same command to resume.

    \b
    Exit codes: 0 success, 1 nothing found, 2 wrong input, 130 interrupted."""

_OPTIONS_OF_RAY = {"address": "--address", "cpus": "--cpus-each", "gpus": "--gpus-each"}
# The study to search if the command names none.
DEFAULT_STUDY = "auto"

# The options that also apply to a recipe; all others are for a search only.
_OPTIONS_OF_A_TRAINING = (
    "recipe",
    "data",
    "seed",
    "retrain_epochs",
    "retrain_budget",
    "image_size",
    "fit",
    "max_bad_files",
    "layout",
    "precision",
    "xla",
    "cache_limit",
    "runs_directory",
    "retrain_again",
)


def run(
    context: typer.Context,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="<name or file>",
            help="A study; `list studies` lists them.  [default: auto]",
            autocompletion=shipped_study_names,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="<name>",
            help="Instead of a study: train a published baseline; `list recipes` lists them.",
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
        typer.Option(
            min=1, metavar="<number>", help="Number of finished trials.  [default: the study's]"
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="<duration>",
            help="Time for the whole run, search and final training, such as 40m or 1h30m.  "
            "[default: the study's, else 30m; none with --trials]",
        ),
    ] = None,
    storage: StorageOption = None,
    study_name: Annotated[
        str | None,
        typer.Option(metavar="<name>", help="Name in the storage.  [default: the study's]"),
    ] = None,
    metric: Annotated[
        Metric | None,
        typer.Option(help="Ranks trials on the validation images.  [default: the study's]"),
    ] = None,
    class_weights: Annotated[
        ClassWeights | None,
        typer.Option(
            help="Weight small classes more in training; auto does so if the classes differ in "
            "size and the metric benefits.  [default: the study's, which is auto]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="<number>", help="Seeds everything.")] = 0,
    retrain_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="<number>",
            help="Epochs of the winner's training.  [default: set by the time plan]",
        ),
    ] = None,
    retrain_budget: Annotated[
        str | None,
        typer.Option(
            metavar="<duration>",
            help="Time for the winner's training, included in the budget.  [default: set by the "
            "time plan]",
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    fit: FitOption = None,
    max_bad_files: MaxBadFilesOption = "1%",
    layout: LayoutOption = "auto",
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
        typer.Option(help="Start with the published baselines that the study's space contains."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="<number or auto>",
            help="Worker processes; auto measures how many pay off, 0 trains in this process.  "
            "[default: the study's; on Ray auto, as many as fit]",
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="<number>",
            help="How often a trial is retried from the same checkpoint after its process died.  "
            "[default: 2]",
        ),
    ] = None,
    stall_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="<duration>",
            help="Replace a worker that has sent no sign of life for this long; not with "
            "--workers 0.  [default: 15m]",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Where workers run: on this machine, or on Ray.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="<host:port>", help="A running Ray cluster.  [default: RAY_ADDRESS, or auto]"
        ),
    ] = None,
    cpus_each: Annotated[
        float | None,
        typer.Option(metavar="<number>", help="CPUs per worker on Ray.  [default: 1]"),
    ] = None,
    gpus_each: Annotated[
        float | None,
        typer.Option(metavar="<number>", help="GPUs per worker on Ray, such as 0.5.  [default: 0]"),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain/--no-retrain", help="Retrain the winner, or stop after the search."
        ),
    ] = True,
    retrain_again: Annotated[
        bool,
        typer.Option(
            "--retrain-again",
            help="Train the winner once more and open the test images again, even if an equal "
            "training has finished.",
        ),
    ] = False,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="<folder or s3 url>",
            help="Keep results here, and checkpoints that all machines share.  [default: results "
            "in artifacts of the runs directory, no shared checkpoints]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the search would try, and stop.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: print JSON for programs.")
    ] = False,
) -> None:
    """Searches, then retrains, evaluates and exports the winner; or trains a recipe."""
    budget_seconds = optional_duration(budget, "--budget")
    retrain_budget_seconds = optional_duration(retrain_budget, "--retrain-budget")
    size = optional_image_size(image_size)
    bad_files = parse_share(max_bad_files, option="--max-bad-files")
    cache_bytes = parse_bytes(cache_limit, option="--cache-limit")
    worker_count = None if workers is None else parse_workers(workers, option="--workers")
    stall_seconds = optional_duration(stall_timeout, "--stall-timeout")

    if recipe is not None:
        _refuse_beside_recipe(recipe, context)
        from spaces.recipes import find_recipe

        find_recipe(recipe)  # a wrong name must not wait for the imports below
        if data is None:
            raise UserError(
                f"A recipe needs images; received no --data. Fix: add --data FOLDER. {DATA_HELP}"
            )

        searched = None
    else:
        if json and not dry_run:
            raise UserError(
                "--json prints what a dry run finds; received --json without --dry-run. Fix: add "
                "--dry-run, or leave out --json: a run writes its figures to metrics.json."
            )
        with _stdout_free_for_json(json):
            searched = _searched(study, hypermodel, backbone or [])

    from search.data import DataSource
    from search.storage.places import Places
    from search.system.runtime import Compute

    source = DataSource(
        location=data, image_size=size, fit=fit, max_bad_files=bad_files, layout=layout
    )
    compute = Compute(precision=precision, xla=xla)
    places = Places(runs_directory=runs_directory, artifacts=artifacts, cache_limit=cache_bytes)
    if searched is None:
        assert recipe is not None
        from search.recipes import run_recipe
        from search.results.summary import summarize

        with shown_progress() as progress:
            output = run_recipe(
                recipe,
                data=source,
                seed=seed,
                epochs=retrain_epochs,
                budget_seconds=retrain_budget_seconds,
                compute=compute,
                places=places,
                retrain_again=retrain_again,
                progress=progress,
            )
        typer.echo(summarize(output))
        return

    from search.optimize.budget import Budget

    whole = Budget(
        seconds=budget_seconds,
        trials=trials,
        retrain=retrain,
        retraining_seconds=retrain_budget_seconds,
        retraining_epochs=retrain_epochs,
    )
    if dry_run:
        from search.dry_run import describe_study

        with _stdout_free_for_json(json):
            described = describe_study(
                searched,
                data=source,
                budget=whole,
                metric=metric,
                class_weights=class_weights,
                seed=seed,
                warm_start=warm_start,
                compute=compute,
                places=places,
            )
        if json:
            print_json(described.as_data())
        else:
            typer.echo(described)
        return

    from search import pipeline
    from search.engines.workers import LocalWorkers, RayWorkers, WorkerLimits
    from search.results.summary import summarize_run

    named = _named(retries=retries, stall_seconds=stall_seconds)
    limits = WorkerLimits(**named)
    of_ray = _named(address=address, cpus=cpus_each, gpus=gpus_each)
    using: LocalWorkers | RayWorkers
    if engine == "ray":
        using = RayWorkers(**_named(number=worker_count), limits=limits, **of_ray)
    else:
        if of_ray:
            options = ", ".join(_OPTIONS_OF_RAY[name] for name in of_ray)
            raise UserError(
                f"{options} needs '--engine ray'; received the engine 'local'. Fix: add --engine "
                f"ray, or leave out {options}."
            )
        number = searched.spec.workers if worker_count is None else worker_count
        using = LocalWorkers(number=number, limits=limits)
    with shown_progress() as progress:
        result = pipeline.run_study(
            replace(searched, command=_command(context)),
            data=source,
            budget=whole,
            storage=storage,
            study_name=study_name,
            metric=metric,
            class_weights=class_weights,
            seed=seed,
            warm_start=warm_start,
            workers=using,
            compute=compute,
            places=places,
            retrain_again=retrain_again,
            progress=progress,
        )
    typer.echo(summarize_run(result))


def _stdout_free_for_json(json: bool) -> AbstractContextManager[object]:
    """Sends to stderr what a user's study or space prints, because stdout is for the JSON."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


def _command(context: typer.Context) -> str:
    """Returns the command line that resumes this run, without a password."""
    from search.storage import without_password

    words = ["python", "-m", "search", "run"]
    for option in context.command.params:
        value = context.params[option.name or ""]
        if option.name == "retrain_again" or value in (option.default, None, [], ()):
            continue
        if option.name == "storage":
            value = without_password(value)
        if isinstance(value, bool):
            words.append((option.opts if value else option.secondary_opts)[0])
        else:
            for item in value if isinstance(value, list | tuple) else [value]:
                words += [option.opts[0], str(item)]
    return printed_command(*words)


def _named(**options: Any) -> dict[str, Any]:
    """Returns the options that were given; the others keep their defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _refuse_beside_recipe(recipe: str, context: typer.Context) -> None:
    given = [
        (option.secondary_opts or option.opts)[0]
        for option in context.command.params
        if option.name not in _OPTIONS_OF_A_TRAINING
        and context.params[option.name] not in (option.default, ())
    ]
    if given:
        raise UserError(
            f"A recipe is one training, not a search; received {', '.join(given)} with "
            f"'--recipe {recipe}'. Fix: leave out one or the other, as in: "
            + printed_command(PROGRAM, "run", "--recipe", recipe, "--data", "FOLDER")
        )


def _searched(study: str | None, hypermodel: str | None, backbones: Sequence[str]) -> "LoadedStudy":
    """Loads the study first, because a wrong name must not wait for the other imports."""
    from search.system.runtime import startup_chatter_held
    from studies.study import load_study

    # A user's file may import Keras.
    with startup_chatter_held():
        if study is not None and hypermodel is None:
            return load_study(study).with_backbones(backbones)
        if hypermodel is not None and study is None and not backbones:
            from search.keras_tuner import hypermodel_study

            return hypermodel_study(hypermodel)
    if study is None and hypermodel is None:
        return load_study(DEFAULT_STUDY).with_backbones(backbones)
    options = [("--study", study), ("--hypermodel", hypermodel)]
    options += [("--backbone", backbone) for backbone in backbones]
    received = " ".join(f"{name} {value}" for name, value in options if value is not None)
    raise UserError(
        f"A run takes one of '--study' (`list studies`), '--recipe' (`list recipes`) and "
        f"'--hypermodel', and '--backbone' only with a study; received {received}. "
        f"Fix: use one, as in: {PROGRAM} run --study depth_filters --data FOLDER"
    )
