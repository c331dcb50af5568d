"""Trains the published recipes at their full length on CIFAR-10, ours beside the published figure.

    python -m benchmarks.recipes --data path/to/cifar10
    python -m benchmarks.recipes --data path/to/cifar10 --recipes g3_homebrew --epochs 30
    python -m benchmarks.recipes --table              # from the existing rows

Or: make bench-recipes DATA=path/to/cifar10

Recipes are trained one after another by `python -m search.run --recipe`; nothing else should run on
the machine. Each finished row is written to benchmarks/results/recipes.json immediately. The same
command continues with the missing rows, and an interrupted recipe resumes from its last checkpoint.

Estimated hours on 2 CPU cores: siaj_tensorflow 0.1, granita_2 0.2, granita_3 0.6, siaj_pytorch 0.8,
ironhack_vgg12 1.4, granita_final 1 to 2.4, bicocca_cnn 2.5, g3_homebrew 15.
"""

import json
import math
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.comparison import machine, tables
from benchmarks.comparison.measuring import FailedError
from benchmarks.comparison.rows import Row, of_work
from benchmarks.comparison.rows import read_rows as read_searches
from benchmarks.comparison.running import (
    cache_folder,
    last_lines,
    outside_repository,
    run_limited,
)
from benchmarks.kept_rows import keep_row, read_rows
from cnn_blocks.errors import UserError
from search.progress.words import counted
from spaces.recipes import RECIPES, find_recipe

RESULTS = Path(__file__).parent / "results"
ROWS = "recipes.json"
SEARCHES = "end_to_end.json"
# The networks that are not pretrained. Cheapest first; then what the reports themselves improved on
# (20 epochs each), and the longest last.
OWN_NETWORKS = (
    "siaj_tensorflow",
    "granita_2",
    "granita_3",
    "siaj_pytorch",
    "ironhack_vgg12",
    "granita_final",
    "bicocca_cnn",
    "granita_1",
    "ironhack_1",
    "g3_homebrew",
)
# Identifies a row.
_KEY = ("recipe", "epochs", "seed")


def main(
    data: Annotated[
        Path | None, typer.Option(help="CIFAR-10 as an image folder, train/ and test/.")
    ] = None,
    recipes: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(OWN_NETWORKS),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: each recipe's own number.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seeds everything.")] = 0,
    work: Annotated[
        Path | None,
        typer.Option(help="Where runs write. Default: in the user's cache folder."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure existing rows again.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Only print the table.")] = False,
    results: Annotated[Path, typer.Option(help="The folder for the results.")] = RESULTS,
) -> None:
    """Measures the missing rows and prints the table."""
    failures = 0
    if not table:
        if data is None or not data.expanduser().is_dir():
            raise typer.BadParameter(
                f"--data must be a folder of images; received {data}. Fix: --data path/to/cifar10"
            )
        failures = _measure_all(
            [_key(name.strip(), epochs, seed) for name in recipes.split(",")],
            data=data.expanduser().resolve(),
            work=outside_repository(work or cache_folder("cnn-search-recipes")),
            path=results / ROWS,
            again=again,
        )
    typer.echo(recipe_table(read_rows(results / ROWS), read_searches(results / SEARCHES)))
    if failures:
        raise typer.Exit(1)


def recipe_table(rows: Sequence[dict[str, Any]], searches: Sequence[Row]) -> str:
    """Returns a line per recipe, and per search of `auto` on all CIFAR-10 images, as Markdown.

    Accuracies are test accuracies. Minutes are those of the training, for a search of the whole
    run.
    """
    lines = [["recipe", "published", "ours", "epochs", "minutes"]]
    order = list(RECIPES)
    for row in sorted(rows, key=lambda row: (order.index(row["recipe"]), row["epochs"])):
        published = row["published_accuracy"]
        lines.append(
            [
                f"`{row['recipe']}`" + (f", seed {row['seed']}" if row["seed"] else ""),
                "" if published is None else f"{published:.1%}",
                f"{row['test_accuracy']:.1%}",
                _epochs(row),
                f"{row['seconds'] / 60:.0f}",
            ]
        )
    for search in of_work(searches, "cifar10_all").get("auto", ()):
        lines.append(
            [
                f"search with `auto`, seed {search.seed}",
                "",
                f"{search.test_accuracy:.1%}",
                "",
                f"{search.seconds / 60:.0f}",
            ]
        )
    return tables.markdown(lines)


def _epochs(row: dict[str, Any]) -> str:
    text = f"{row['epochs_trained']:g}"
    if row["epochs_trained"] < row["epochs"]:
        text += f" of at most {row['epochs']}"
    if row["epochs"] != row["recipe_epochs"]:
        text += f" instead of {row['recipe_epochs']}"
    return text


def _key(name: str, epochs: int | None, seed: int) -> dict[str, Any]:
    try:
        recipe = find_recipe(name)
    except UserError as error:
        raise typer.BadParameter(str(error)) from error
    own = recipe.candidate.training.epochs
    return {"recipe": name, "epochs": epochs or own, "seed": seed}


def _measure_all(
    keys: Sequence[dict[str, Any]], *, data: Path, work: Path, path: Path, again: bool
) -> int:
    """Measures the missing rows one after another and returns how many failed."""
    if not again:
        rows = read_rows(path)
        keys = [key for key in keys if not any(key.items() <= row.items() for row in rows)]
    if not keys:
        typer.echo("All rows exist; --again measures them again.", err=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    for key in keys:
        try:
            row = _measure(key, data=data, work=work, again=again)
        except FailedError as error:
            failures += 1
            typer.echo(f"{key['recipe']} failed: {error}", err=True)
            continue
        keep_row(path, row, key=_KEY)
    return failures


def _measure(key: dict[str, Any], *, data: Path, work: Path, again: bool) -> dict[str, Any]:
    """Trains a recipe, or resumes its training, and returns its row."""
    recipe = find_recipe(key["recipe"])
    own_epochs = recipe.candidate.training.epochs
    options = ["--recipe", recipe.name, "--seed", str(key["seed"])]
    if key["epochs"] != own_epochs:
        options += ["--retrain-epochs", str(key["epochs"])]
    # Named by its images too, so that a trial on a part of them is not resumed with all.
    folder = work / data.name / f"{recipe.name}-{key['epochs']}-{key['seed']}"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "search.run", *options, "--data", str(data)]
    command += ["--runs-directory", str(folder)]
    log = folder / "log.txt"
    length = counted(key["epochs"], "epoch")
    typer.echo(f"{recipe.name}: {length} at most; progress is in {log}", err=True)
    busy, others = machine.busy_now(), machine.OthersUse()
    ended = run_limited(
        # Otherwise the earlier result would be shown instead of measuring again.
        [*command, "--retrain-again"] if again else command,
        seconds=math.inf,
        log=log,
        environment={"CNN_SEARCH_CACHE": str(work / "cache")},
    )
    found = list((folder / recipe.name).glob("*/metrics.json"))
    if ended.exit_code != 0 or not found:
        raise FailedError(
            f"{shlex.join(command)} ended with exit code {ended.exit_code}; {log} ends with:\n"
            f"{last_lines(log)}"
        )
    run = max(found, key=lambda metrics: metrics.stat().st_mtime).parent
    metrics, environment = _read(run / "metrics.json"), _read(run / "environment.json")
    training, test = metrics["retraining"], metrics["test"]
    return {
        **key,
        "recipe_epochs": own_epochs,
        "epochs_trained": training["epochs"],
        "published_accuracy": recipe.published.get("accuracy"),
        "test_accuracy": round(test["accuracy"], 4),
        "test_images": test["images"],
        "training_images": training["images"],
        # Of all epochs, however often the training was interrupted.
        "seconds": round(training["seconds"], 1),
        "images_per_second": round(training["images_per_second"]),
        "machine": {
            **machine.describe_machine(),
            "dtype_policy": environment["dtype_policy"],
            "busy_before": busy,
            "busy_during": others.share(),
        },
        "command": shlex.join(["python", "-m", "search.run", *options, "--data", data.name]),
    }


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    # Without this, the recipe's process would outlive the benchmark.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.run(main)
