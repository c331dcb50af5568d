"""The tables of the documents say what benchmarks/results records."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.comparison.rows import read_rows as read_searches
from benchmarks.kept_rows import read_rows
from benchmarks.recipes import ROWS, SEARCHES, recipe_table

_REPOSITORY = Path(__file__).parents[2]
_RESULTS = _REPOSITORY / "benchmarks" / "results"
_SETS = {
    "few": "ten CIFAR-10 classes, 12 images each",
    "two_classes": "cats and ships, 300 images each",
    "digit_pairs": "the numbers 00 to 99 in two handwritten digits, 20 images each",
    "gray": "handwritten digits, grey, 28x28, 60 images each",
    "photos": "photos of hand signs, 600x800, 40 images each",
    "imbalanced": "1,500 ships and 30 cats",
    "cifar10_5x100": "five CIFAR-10 animals, 100 images each",
}


def _records(name: str) -> Any:
    return json.loads((_RESULTS / name).read_text(encoding="utf-8"))


def _table_rows(page: str) -> list[str]:
    text = (_REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("|")]


def _end_to_end() -> Iterator[str]:
    for row in _records("end_to_end.json"):
        images = f" of {row['test_images']:,}" if row["seed"] == 0 else ""
        yield (
            f"| {row['seed']} | {row['seconds']:.0f} s | "
            f"{100 * row['test_accuracy']:.1f}%{images} |"
        )


def _odd_sets() -> Iterator[str]:
    for row in _records("odd_sets.json"):
        accuracy = f"{100 * row['test_accuracy']:.1f}%"
        if row["balanced_accuracy"] != row["test_accuracy"]:
            accuracy += f", balanced {100 * row['balanced_accuracy']:.1f}%"
        yield f"| {_SETS[row['set']]} | {accuracy} | {100 * row['commonest_class']:.1f}% |"


def _image_fit() -> Iterator[str]:
    rows = _records("image_fit.json")
    for way in ("scene", "window"):
        for name, words in (("signs", "hand signs"), ("cifar10", "CIFAR-10")):
            means = [
                fmean(
                    100 * row["validation_accuracy"]
                    for row in rows
                    if (row["set"], row["way"], row["fit"]) == (name, way, fit)
                )
                for fit in ("crop", "pad", "stretch")
            ]
            yield f"| {words}, {way} | " + " | ".join(f"{mean:.1f}%" for mean in means) + " |"


def _class_weights() -> Iterator[str]:
    rows = _records("class_weights.json")
    for name in ("95:5", "1:10", "1:50"):
        for weights in ("none", "square_root", "balanced"):
            alike = [row for row in rows if (row["set"], row["weights"]) == (name, weights)]

            def mean(metric: str, alike: list[dict[str, Any]] = alike) -> float:
                return fmean(row[metric] for row in alike)

            yield (
                f"| `{weights}` | {100 * mean('accuracy'):.1f}% | "
                f"{100 * mean('balanced_accuracy'):.1f}% | {mean('macro_f1'):.3f} | "
                f"{mean('auc'):.3f} |"
            )


def _workers() -> Iterator[str]:
    for filters, size in (("16_16_16", 8), ("16_16_16", 16), ("16_16_16", 32), ("16_32_64", 32)):
        found = _records(f"workers_{filters}_{size}x{size}.json")["auto_over_one"]["search"]
        yield f"| {filters.replace('_', '-')} | {size}x{size} | {found:.2f} |"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param("benchmarks.md", _end_to_end, id="end to end"),
        pytest.param("benchmarks.md", _odd_sets, id="odd sets"),
        pytest.param("benchmarks.md", _image_fit, id="image fit"),
        pytest.param("benchmarks.md", _class_weights, id="class weights"),
        pytest.param("workers.md", _workers, id="workers"),
    ],
)
def test_every_record_is_in_the_table(page: str, expected: Any) -> None:
    rows = _table_rows(page)

    assert [row for row in expected() if not any(line.endswith(row) for line in rows)] == []


def test_the_page_of_the_recipes_has_the_whole_table_once_there_are_rows() -> None:
    page = (_REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = read_rows(_RESULTS / ROWS)
    shown = [line for line in page.splitlines() if line.startswith("|")]

    expected = recipe_table(rows, read_searches(_RESULTS / SEARCHES)).splitlines() if rows else []

    assert shown == expected


def test_the_front_page_rounds_the_same_figures() -> None:
    readme = (_REPOSITORY / "README.md").read_text(encoding="utf-8")
    shown = {"sign_digits_2m": 120, "cifar10_5000": 480, "cifar10_5000_backbone": 240}

    for work, seconds in shown.items():
        rows = [row for row in _records("end_to_end.json") if row["work"] == work]
        first, second, third = (f"{100 * row['test_accuracy']:.1f}%" for row in rows)
        text = f"| {seconds // 60} minutes | {first}, {second} and {third}".replace(
            "100.0%", "100%"
        )
        assert text in readme
        assert {row["given_seconds"] for row in rows} == {seconds}
