"""Measures the result after a minute on small unusual sets, and on sets not used for tuning.

    python -m benchmarks.odd_sets --data-cifar10 path/to/cifar10 --data-signs path/to/sign-digits
    python -m benchmarks.odd_sets ... --methods auto,default --seeds 0,1,2 --sets cifar10_5x100

Each set is made of images that other benchmarks use or that scikit-learn ships. A row holds the
test accuracy, the accuracy of always predicting the commonest class of the test images, and the
time used of the time budget. Rows are written to benchmarks/results/odd_sets.json immediately;
existing rows are not measured again.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from benchmarks.comparison import machine
from benchmarks.comparison.commands import our_command, our_options
from benchmarks.comparison.running import last_lines, run_limited
from benchmarks.kept_rows import keep_row, read_rows
from search.results.configuration_file import read_configuration

RESULTS = Path(__file__).parent / "results" / "odd_sets.json"
_TEST_PER_CLASS = 100
_WORK = Path(tempfile.gettempdir()) / "odd_sets"


def few(cifar10: Path, signs: Path, to: Path) -> None:
    """Ten classes with 12 images each."""
    _part_of_cifar10(cifar10, to, dict.fromkeys(_classes(cifar10), 12))


def two_classes(cifar10: Path, signs: Path, to: Path) -> None:
    """Cats and ships, 300 images each."""
    _part_of_cifar10(cifar10, to, {"cat": 300, "ship": 300})


def imbalanced(cifar10: Path, signs: Path, to: Path) -> None:
    """1,500 ships and 30 cats, with test images in the same proportion."""
    _part_of_cifar10(cifar10, to, {"cat": 30, "ship": 1500}, test={"cat": 20, "ship": 1000})


def cifar10_5x100(cifar10: Path, signs: Path, to: Path) -> None:
    """Five animals, 100 images each. Not used for tuning."""
    names = ("bird", "cat", "deer", "dog", "frog")
    _part_of_cifar10(cifar10, to, dict.fromkeys(names, 100), test=dict.fromkeys(names, 500))


def digit_pairs(cifar10: Path, signs: Path, to: Path) -> None:
    """The numbers 00 to 99 as two handwritten digits, 20 images each. Not used for tuning."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    generator = np.random.default_rng(0)
    for role, count, half in (("train", 20, 0), ("test", 10, 1)):
        for number in range(100):
            folder = to / role / f"{number:02d}"
            folder.mkdir(parents=True)
            for index in range(count):
                # Even rows are training images, odd rows test images.
                parts = [
                    digits.images[generator.choice(np.flatnonzero(digits.target == digit)[half::2])]
                    for digit in divmod(number, 10)
                ]
                pixels = (np.concatenate(parts, axis=1) * (255 / 16)).astype(np.uint8)
                Image.fromarray(pixels).resize((32, 16)).save(folder / f"{index}.png")


def gray(cifar10: Path, signs: Path, to: Path) -> None:
    """Handwritten digits as grey images of 28x28, 60 each."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for digit in range(10):
        folder = to / str(digit)
        folder.mkdir(parents=True)
        for index, row in enumerate(np.flatnonzero(digits.target == digit)[:60]):
            pixels = (digits.images[row] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).resize((28, 28)).save(folder / f"{index}.png")


def photos(cifar10: Path, signs: Path, to: Path) -> None:
    """Photos of hand signs as JPEG of 600x800, 40 each."""
    for name in _classes(signs):
        folder = to / name
        folder.mkdir(parents=True)
        for index, file in enumerate(sorted((signs / name).iterdir())[:40]):
            with Image.open(file) as image:
                image.convert("RGB").resize((800, 600)).save(folder / f"{index}.jpg")


SETS: dict[str, Callable[[Path, Path, Path], None]] = {
    make.__name__: make
    for make in (few, two_classes, digit_pairs, gray, photos, imbalanced, cifar10_5x100)
}


def main(
    data_cifar10: Annotated[Path, typer.Option(help="CIFAR-10 as an image folder.")],
    data_signs: Annotated[Path, typer.Option(help="Photos of hand signs, one folder per class.")],
    sets: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(SETS),
    methods: Annotated[str, typer.Option(help="auto, default, or both.")] = "auto",
    seeds: Annotated[str, typer.Option(help="For example 0,1,2.")] = "0",
    seconds: Annotated[int, typer.Option(min=10, help="The time budget.")] = 60,
    work: Annotated[Path, typer.Option(help="Where runs write.")] = _WORK,
) -> None:
    """Measures the missing rows and prints all."""
    rows = read_rows(RESULTS)
    for name in sets.split(","):
        for method in methods.split(","):
            for seed in map(int, seeds.split(",")):
                key = {"set": name, "method": method, "seed": seed, "given_seconds": seconds}
                if any(key.items() <= row.items() for row in rows):
                    continue
                row = key | _measure(key, data_cifar10, data_signs, work)
                keep_row(RESULTS, row, key=list(key))
                rows.append(row)
    typer.echo("| set | method | seed | test accuracy | commonest class | seconds of the budget |")
    typer.echo("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        typer.echo(
            f"| {row['set']} | {row['method']} | {row['seed']} | {row['test_accuracy']:.1%} | "
            f"{row['commonest_class']:.1%} | {row['seconds']:.0f} of {row['given_seconds']} |"
        )


def _measure(key: dict[str, Any], cifar10: Path, signs: Path, work: Path) -> dict[str, Any]:
    source = work / "sets" / key["set"]
    if not source.exists():
        partial = source.with_name(f".{source.name}")
        shutil.rmtree(partial, ignore_errors=True)
        SETS[key["set"]](cifar10, signs, partial)
        partial.rename(source)
    folder = work / "rows" / f"{key['set']}-{key['method']}-{key['seed']}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = our_options(
        key["method"], source=str(source), seconds=key["given_seconds"], seed=key["seed"]
    )
    ended = run_limited(
        our_command(options, folder=folder, backbone=None),
        seconds=3 * key["given_seconds"] + 60,
        log=folder / "log.txt",
        environment={"CNN_SEARCH_CACHE": str(work / "cache")},
    )
    found = list((folder / "runs").rglob("metrics.json"))
    if ended.exit_code != 0 or not found:
        raise SystemExit(f"{key} failed:\n{last_lines(folder / 'log.txt')}")
    test = json.loads(found[0].read_text(encoding="utf-8"))["test"]
    counts = [scores["support"] for scores in test["per_class"]]
    return {
        "test_accuracy": round(test["accuracy"], 4),
        "balanced_accuracy": round(test["balanced_accuracy"], 4),
        "commonest_class": round(max(counts) / sum(counts), 4),
        "test_images": test["images"],
        "seconds": round(ended.seconds, 1),
        "winner": read_configuration(found[0].parent / "best_config.json").candidate.summary(),
        "processor": machine.describe_machine()["processor"],
    }


def _classes(folder: Path) -> list[str]:
    root = folder / "train" if (folder / "train").is_dir() else folder
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def _part_of_cifar10(
    cifar10: Path, to: Path, train: dict[str, int], test: dict[str, int] | None = None
) -> None:
    for role, counts in (("train", train), ("test", test or dict.fromkeys(train, _TEST_PER_CLASS))):
        for name, count in counts.items():
            folder = to / role / name
            folder.mkdir(parents=True)
            for file in sorted((cifar10 / role / name).iterdir())[:count]:
                shutil.copyfile(file, folder / file.name)


if __name__ == "__main__":
    typer.run(main)
