"""The benchmark of the recipes: it trains, keeps and tabulates rows."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from benchmarks import recipes
from benchmarks.comparison import machine
from benchmarks.comparison.rows import Row
from benchmarks.comparison.running import Ended
from benchmarks.kept_rows import read_rows
from cnn_blocks.pretrained import Pretrained
from spaces.recipes import RECIPES
from tests.support.tiny_images import image_folder


class Benchmark:
    """The command with trainings that take no time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "cifar10"
        self.data.mkdir()
        self.commands: list[list[str]] = []
        self.during: Callable[[str], int] = lambda recipe: 0
        self._application = typer.Typer()
        self._application.command()(recipes.main)

    def run_limited(self, command: Sequence[str], *, log: Path, **options: Any) -> Ended:
        self.commands.append(list(command))
        recipe = command[command.index("--recipe") + 1]
        log.write_text("the last line")
        exit_code = self.during(recipe)
        if exit_code == 0:
            written = Path(command[command.index("--runs-directory") + 1]) / recipe / "run"
            written.mkdir(parents=True, exist_ok=True)
            training = {
                "epochs": 20.0,
                "images": 42_500,
                "seconds": 300.04,
                "images_per_second": 2833.4,
            }
            test = {"accuracy": 0.71234, "images": 10_000}
            metrics = {"retraining": training, "test": test}
            (written / "metrics.json").write_text(json.dumps(metrics))
            (written / "environment.json").write_text('{"dtype_policy": "float32"}')
        return Ended(began=0.0, seconds=1.0, exit_code=exit_code)

    def __call__(self, *options: str) -> Result:
        self.commands.clear()
        places = ["--results", str(self.folder / "results"), "--work", str(self.folder / "work")]
        arguments = ["--data", str(self.data), *options, *places]
        return CliRunner().invoke(self._application, arguments)

    @property
    def trained(self) -> list[str]:
        return [command[command.index("--recipe") + 1] for command in self.commands]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return read_rows(self.folder / "results" / "recipes.json")


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    benchmark = Benchmark(tmp_path)
    monkeypatch.setattr(recipes, "run_limited", benchmark.run_limited)
    monkeypatch.setattr(machine, "busy_now", lambda: 0.5)
    return benchmark


def test_a_row_has_both_figures_and_the_state_of_the_machine(benchmark: Benchmark) -> None:
    result = benchmark("--recipes", "granita_1", "--seed", "3")

    assert result.exit_code == 0, result.output
    assert "| `granita_1`, seed 3 | 68.8% | 71.2% | 20 | 5 |" in result.output
    (row,) = benchmark.rows
    state = row.pop("machine")
    assert state.keys() >= {"processor", "cores", "commit", "dtype_policy", "busy_during"}
    assert state["busy_before"] == 0.5
    assert row == {
        "recipe": "granita_1",
        "epochs": 20,
        "seed": 3,
        "recipe_epochs": 20,
        "epochs_trained": 20.0,
        "published_accuracy": 0.6877,
        "test_accuracy": 0.7123,
        "test_images": 10_000,
        "training_images": 42_500,
        "seconds": 300.0,
        "images_per_second": 2833,
        "command": "python -m search.run --recipe granita_1 --seed 3 --data cifar10",
    }


def test_the_networks_that_are_not_pretrained_are_trained_once(benchmark: Benchmark) -> None:
    own = {
        name
        for name, recipe in RECIPES.items()
        if not isinstance(recipe.candidate.model.backbone, Pretrained)
    }

    benchmark()
    assert set(benchmark.trained) == own
    assert len(benchmark.rows) == len(own) == 10
    assert not any("--retrain-again" in command for command in benchmark.commands)

    assert "--again measures them again" in benchmark().output
    assert benchmark.trained == []

    benchmark("--recipes", "granita_1,granita_2", "--again")
    assert benchmark.trained == ["granita_1", "granita_2"]
    # Otherwise the command would show its earlier result.
    assert all("--retrain-again" in command for command in benchmark.commands)
    assert len(benchmark.rows) == 10


def test_a_shortened_training_has_a_row_of_its_own(benchmark: Benchmark) -> None:
    benchmark("--recipes", "g3_homebrew")
    result = benchmark("--recipes", "g3_homebrew", "--epochs", "20")

    assert [row["epochs"] for row in benchmark.rows] == [150, 20]
    assert benchmark.rows[1]["command"].endswith("--retrain-epochs 20 --data cifar10")
    assert "| `g3_homebrew` | 88.2% | 71.2% | 20 of at most 150 | 5 |" in result.output
    assert "| `g3_homebrew` | 88.2% | 71.2% | 20 instead of 150 | 5 |" in result.output


def test_an_interrupted_recipe_resumes_in_its_folder(benchmark: Benchmark) -> None:
    def interrupted(recipe: str) -> int:
        if recipe == "granita_2":
            raise KeyboardInterrupt
        return 0

    benchmark.during = interrupted
    assert benchmark("--recipes", "granita_1,granita_2").exit_code != 0
    assert [row["recipe"] for row in benchmark.rows] == ["granita_1"]
    before = benchmark.commands[-1]

    benchmark.during = lambda recipe: 0
    benchmark("--recipes", "granita_1,granita_2")
    assert benchmark.commands == [before]
    assert [row["recipe"] for row in benchmark.rows] == ["granita_1", "granita_2"]


def test_a_failed_recipe_is_not_written_and_the_others_go_on(benchmark: Benchmark) -> None:
    benchmark.during = lambda recipe: 2 if recipe == "granita_1" else 0

    result = benchmark("--recipes", "granita_1,granita_2")

    assert result.exit_code == 1
    assert "granita_1 failed: " in result.output
    assert "with exit code 2" in result.output and "the last line" in result.output
    assert [row["recipe"] for row in benchmark.rows] == ["granita_2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipes", "granita1"], "granita_1"),
        (["--data", "nowhere/at/all"], "nowhere/at/all"),
        (["--epochs", "0"], "--epochs"),
    ],
)
def test_wrong_options_are_refused(benchmark: Benchmark, options: list[str], message: str) -> None:
    result = benchmark(*options)

    assert result.exit_code == 2
    assert message in result.output
    assert benchmark.commands == []


def test_the_table_has_the_recipes_of_each_report_and_then_the_searches() -> None:
    row = {
        "seed": 0,
        "epochs": 100,
        "recipe_epochs": 100,
        "epochs_trained": 41.0,
        "published_accuracy": 0.86,
        "test_accuracy": 0.8512,
        "seconds": 5430.0,
    }
    rows: list[dict[str, Any]] = [
        {**row, "recipe": "siaj_pytorch", "epochs_trained": 100.0},
        {**row, "recipe": "bicocca_cnn"},
        {**row, "recipe": "granita_final", "epochs": 50},
        {**row, "recipe": "ironhack_vgg16", "published_accuracy": None, "epochs_trained": 100.0},
    ]
    search = Row(
        work="cifar10_all",
        method="auto",
        seed=0,
        given_seconds=3780.0,
        seconds=3700.0,
        test_accuracy=0.9123,
        test_images=10_000,
        curve=[],
        winner="plain",
        command="python -m search.run",
        machine={},
    )
    others = [Row(**{**vars(search), **change}) for change in ({"work": "digits"}, {"seed": 1})]

    lines = recipes.recipe_table(rows, [search, *others]).splitlines()

    assert lines[0] == "| recipe | published | ours | epochs | minutes |"
    assert lines[2:] == [
        "| `granita_final` | 86.0% | 85.1% | 41 of at most 50 instead of 100 | 90 |",
        "| `bicocca_cnn` | 86.0% | 85.1% | 41 of at most 100 | 90 |",
        "| `ironhack_vgg16` |  | 85.1% | 100 | 90 |",
        "| `siaj_pytorch` | 86.0% | 85.1% | 100 | 90 |",
        "| search with `auto`, seed 0 |  | 91.2% |  | 62 |",
        "| search with `auto`, seed 1 |  | 91.2% |  | 62 |",
    ]


@pytest.mark.slow
def test_a_recipe_on_a_few_images_makes_a_row(tmp_path: Path) -> None:
    data = image_folder(tmp_path / "images", a_class=40, size=(32, 32))
    application = typer.Typer()
    application.command()(recipes.main)
    arguments = ["--data", str(data), "--recipes", "granita_1", "--epochs", "2"]
    arguments += ["--results", str(tmp_path / "results"), "--work", str(tmp_path / "work")]

    result = CliRunner().invoke(application, arguments)

    assert result.exit_code == 0, result.output
    (row,) = read_rows(tmp_path / "results" / "recipes.json")
    assert (row["epochs"], row["epochs_trained"], row["recipe_epochs"]) == (2, 2, 20)
    assert row["test_images"] == 4
    assert 0 <= row["test_accuracy"] <= 1
    assert row["training_images"] == 68
    assert row["seconds"] > 0 and row["images_per_second"] > 0
    assert "2 instead of 20" in result.output
