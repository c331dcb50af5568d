"""Recipes, from the name to a finished run on real digits."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnn_blocks.errors import UserError
from search.data import load_data, split_data
from search.progress.events import Event, Progress, RetrainingAdvanced
from search.recipes import run_recipe
from search.results.configuration_file import read_configuration
from search.results.evaluate import evaluate
from search.results.run_result import RunOutput
from search.results.summary import summarize
from search.system.runtime import Compute
from spaces.recipes import RECIPES, find_recipe
from tests.search.results.test_retrain import FILES, REPORT


class Recorder(Progress):
    """Records the reported epochs; with `interrupts` it interrupts in the second one."""

    def __init__(self, *, interrupts: bool = False) -> None:
        self.interrupts = interrupts
        self.epochs: list[float] = []

    def handle(self, event: Event) -> None:
        if isinstance(event, RetrainingAdvanced):
            self.epochs.append(event.epoch)
            if self.interrupts and event.epoch > 1:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="module", autouse=True)
def cache(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_SEARCH_CACHE", str(folder / "cache"))
        yield


@pytest.fixture(scope="module")
def run(folder: Path, cache: None) -> RunOutput:
    return run_recipe(
        "bicocca_cnn",
        data="digits",
        epochs=2,
        places=folder,
        compute=Compute(precision="float32"),
    )


def test_a_recipe_writes_the_files_of_a_run(run: RunOutput, folder: Path) -> None:
    assert run.directory.parent == folder / "bicocca_cnn"
    assert {path.name for path in run.directory.iterdir()} == FILES | REPORT


def test_it_trains_on_train_and_validates_on_validation(run: RunOutput) -> None:
    split = split_data(load_data("digits"), seed=0)

    assert run.metrics["retraining"]["images"] == len(split.train)
    with (run.directory / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    evaluation = evaluate(run.model, split.validation, split.dataset.class_names)
    assert evaluation.loss == pytest.approx(float(best["val_loss"]), rel=1e-3)
    assert run.metrics["retraining"]["best_epoch"] == float(best["epoch"])
    assert run.metrics["retraining"]["val_accuracy"] == float(best["val_accuracy"])
    assert run.configuration.epochs == float(best["epoch"])


def test_the_test_images_are_opened_once(run: RunOutput) -> None:
    assert [opening["purpose"] for opening in run.metrics["test_openings"]] == ["final evaluation"]


def test_published_figures_are_shown_next_to_ours(run: RunOutput) -> None:
    recipe = RECIPES["bicocca_cnn"]
    stored = json.loads((run.directory / "metrics.json").read_text("utf-8"))

    assert stored["recipe"] == {"name": "bicocca_cnn", "published": {"accuracy": 0.86}}
    assert stored["test"]["accuracy"] == run.evaluation.accuracy
    summary = summarize(run)
    assert f"bicocca_cnn ({recipe.source})" in summary
    assert "on CIFAR-10: accuracy 0.86" in summary
    assert "training    2 epochs on" in summary
    assert read_configuration(run.directory / "best_config.yaml").recipe == "bicocca_cnn"


def test_the_model_is_the_recipes_own_for_other_images(run: RunOutput) -> None:
    trained = run.configuration.candidate

    assert trained.model == RECIPES["bicocca_cnn"].candidate.model
    assert trained.training == RECIPES["bicocca_cnn"].candidate.training


@pytest.mark.slow
def test_an_interrupted_recipe_resumes_where_it_stopped(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"data": "digits", "epochs": 2, "places": tmp_path}

    with pytest.raises(KeyboardInterrupt, match="finished epochs of 'siaj_tensorflow' are kept"):
        run_recipe("siaj_tensorflow", progress=Recorder(interrupts=True), **arguments)
    rest = Recorder()
    output = run_recipe("siaj_tensorflow", progress=rest, **arguments)

    assert min(rest.epochs) > 1
    assert [row.name for row in output.directory.parent.iterdir()] == [output.directory.name]


def test_a_recipes_own_validation_share_and_images_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = find_recipe("siaj_tensorflow").model_copy(update={"images": 500})
    monkeypatch.setitem(RECIPES, "siaj_tensorflow", small)

    output = run_recipe("siaj_tensorflow", data="digits", epochs=1, places=tmp_path)

    assert output.metrics["retraining"]["images"] == pytest.approx(500 * 0.9, rel=0.05)


def test_an_unknown_recipe_is_refused_before_any_data_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'granita_1'"):
        run_recipe("granita1", data=tmp_path / "nothing")
