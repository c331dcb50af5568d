"""From a configuration to a finished run, on real digits with a tiny network."""

import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.cli import app as cli
from search.configurations import retrain_from_configuration
from search.data import Decoding, Split, load_data, split_data
from search.progress.events import Event, Note, Progress, RetrainingAdvanced
from search.results.configuration_file import (
    BestConfiguration,
    read_configuration,
    write_configuration,
)
from search.results.evaluate import evaluate, predict
from search.results.exported_model import read_class_names, read_record
from search.results.files import classification_report
from search.results.finished_run import find_finished_run
from search.results.plan import Retraining, only_retraining, run_directory
from search.results.retraining import finish_run, retrain
from search.results.run_result import RunOutput
from search.results.summary import summarize
from search.sizing import time_plan
from search.system.runtime import Compute
from spaces.candidate import Candidate

pytestmark = pytest.mark.usefixtures("saved_at_once")

REPORT = {"report.html", "report.md"}
FILES = {
    "model.keras",
    "best_config.json",
    "best_config.yaml",
    "metrics.json",
    "history.csv",
    "learning_curve.png",
    "confusion_matrix.png",
    "example_predictions.png",
    "classification_report.csv",
    "classification_report.txt",
    "environment.json",
    "decoding.json",
    "test_predictions.csv",
    "report_material",
}


def configuration(**training: Any) -> BestConfiguration:
    candidate = {
        "model": {
            "backbone": {
                "kind": "staged",
                "stages": [{"block": {"kind": "plain", "filters": 8}}],
            },
            "head": {"kind": "pooled", "pooling": "flatten", "dropout": 0.2},
        },
        "training": {"learning_rate": 0.01, "batch_size": 256, **training},
    }
    return BestConfiguration(
        study="tiny",
        trial=4,
        metric="accuracy",
        value=0.9,
        seed=1,
        epochs=3,
        candidate=Candidate.model_validate(candidate),
    )


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_SEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def split(cache: None) -> Split:
    return split_data(load_data("digits"), seed=1)


@pytest.fixture(scope="module")
def openings() -> list[dict[str, Any]]:
    return []


@pytest.fixture(scope="module")
def run(
    split: Split, openings: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> RunOutput:
    return finish_run(
        Retraining(
            configuration=configuration(), split=split, compute=Compute(precision="float32")
        ),
        tmp_path_factory.mktemp("runs") / "tiny",
        record_opening=openings.append,
        search_curve=[(1, 0.5), (2, 0.9)],
    )


class Recorder(Progress):
    """Records events, and interrupts after an epoch if requested."""

    def __init__(self, *, interrupt_after: int | None = None) -> None:
        self.interrupt_after = interrupt_after
        self.epochs: list[float] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def handle(self, event: Event) -> None:
        match event:
            case Note(text, is_warning):
                (self.warnings if is_warning else self.notes).append(text)
            case RetrainingAdvanced(epoch=epoch):
                self.epochs.append(epoch)
                if epoch == self.interrupt_after:
                    raise KeyboardInterrupt


def test_a_run_leaves_all_its_files_and_nothing_else(run: RunOutput) -> None:
    assert {path.name for path in run.directory.iterdir()} == FILES
    for path in run.directory.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_test_images_are_opened_once_and_on_record(
    run: RunOutput, openings: list[dict[str, Any]], split: Split
) -> None:
    stored = json.loads((run.directory / "metrics.json").read_text("utf-8"))
    assert stored["test_openings"] == openings == split.openings
    assert [opening["images"] for opening in openings] == [run.evaluation.images]


def test_a_finished_retraining_is_found_again_without_opening_the_test_images(
    run: RunOutput, openings: list[dict[str, Any]], split: Split
) -> None:
    same = Retraining(
        configuration=configuration(), split=split, compute=Compute(precision="float32")
    )

    found = find_finished_run(run.directory.parent, same)

    assert found is not None
    assert found.directory == run.directory
    assert found.configuration == run.configuration
    assert found.evaluation.metrics() == run.evaluation.metrics()
    assert found.metrics == json.loads(json.dumps(run.metrics))
    assert found.model.count_params() == run.model.count_params()
    assert str(run.directory) in summarize(found)
    assert len(openings) == len(split.openings) == 1
    for other in (
        replace(same, epochs=9),
        replace(same, configuration=configuration(learning_rate=0.02)),
    ):
        assert find_finished_run(run.directory.parent, other) is None


def test_a_finished_folder_without_its_model_or_identity_is_none(
    run: RunOutput, split: Split, tmp_path: Path
) -> None:
    same = Retraining(
        configuration=configuration(), split=split, compute=Compute(precision="float32")
    )
    metrics = json.loads((run.directory / "metrics.json").read_text("utf-8"))
    earlier_version = {
        key: value for key, value in metrics["retraining"].items() if key != "identity"
    }
    for name, content in (
        ("no_model", metrics),
        ("earlier_version", metrics | {"retraining": earlier_version}),
        ("another_program", []),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(content), "utf-8")

    assert find_finished_run(tmp_path, same) is None


def test_retraining_uses_train_and_validation_for_the_fixed_epochs(
    run: RunOutput, split: Split
) -> None:
    assert run.metrics["retraining"]["images"] == len(split.train) + len(split.validation)
    with (run.directory / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3]
    assert not any(name.startswith("val_") for name in rows[0])
    assert float(rows[-1]["learning_rate"]) < 0.1 * 0.01  # the schedule spans these epochs


def test_metrics_agree_with_the_saved_model(run: RunOutput) -> None:
    stored = json.loads((run.directory / "metrics.json").read_text("utf-8"))
    assert stored == json.loads(json.dumps(run.metrics))
    assert stored["test"]["accuracy"] > 0.5
    assert sum(map(sum, stored["test"]["confusion_matrix"])) == stored["test"]["images"]
    assert [row["name"] for row in stored["test"]["per_class"]] == list(
        read_class_names(run.directory / "model.keras")
    )


def test_both_configuration_files_hold_the_retrained_candidate(run: RunOutput) -> None:
    assert read_configuration(run.directory / "best_config.yaml") == run.configuration
    assert read_configuration(run.directory / "best_config.json") == run.configuration


def test_the_environment_names_what_the_result_depended_on(run: RunOutput, split: Split) -> None:
    record = json.loads((run.directory / "environment.json").read_text("utf-8"))
    assert {"python", "versions", "operating_system", "processor", "device", "git"} <= set(record)
    assert {"keras", "tensorflow", "optuna", "numpy"} <= set(record["versions"])
    assert record["data"]["fingerprint"] == split.dataset.fingerprint
    assert record["split"]["sha256"] == split.sha256
    assert record["dtype_policy"] == "float32"
    assert record["seed"] == 1


def test_the_summary_ends_with_paths_and_commands_that_can_be_typed(run: RunOutput) -> None:
    summary = summarize(run, storage="sqlite:///runs/studies.db", artifacts="runs/artifacts")
    for part in [
        "tiny, trial 4",
        "validation accuracy 0.9000",
        f"accuracy {run.evaluation.accuracy:.4f}",
        str(run.directory),
        "training steps",
        "python -m search dashboard --storage sqlite:///runs/studies.db --artifacts runs/artifacts",
        f"--config {run.directory / 'best_config.yaml'} --data digits",
    ]:
        assert part in summary


def test_the_summarys_commands_can_be_pasted_whatever_the_paths_hold(run: RunOutput) -> None:
    odd = Path("""my $runs/it's "new" `x`""")
    moved = replace(run, directory=odd, data="~ images")

    *_, retraining, prediction = summarize(moved).splitlines()

    assert shlex.split(retraining)[-4:] == [
        *("--config", str(odd / "best_config.yaml")),
        *("--data", "~ images"),
    ]
    assert shlex.split(prediction)[-3:] == ["--model", str(odd / "model.keras"), "FILE_OR_FOLDER"]


def test_the_summarys_last_command_predicts_an_image(
    run: RunOutput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "image.png"
    Image.new("L", (20, 30)).save(image)
    words = shlex.split(summarize(run).splitlines()[-1].replace("FILE_OR_FOLDER", str(image)))
    assert words[:4] == ["python", "-m", "search", "predict"]

    assert cli.invoke(words[3:]) == 0

    assert capsys.readouterr().out.startswith(f"{image}  ")


def test_the_decoding_lies_beside_the_model_and_inside(run: RunOutput, split: Split) -> None:
    beside = (run.directory / "decoding.json").read_text("utf-8")
    assert Decoding.model_validate_json(beside) == split.dataset.decoding
    assert read_record(run.directory / "model.keras").decoding == split.dataset.decoding
    assert run.configuration.fit == split.dataset.decoding.fit


def test_the_predictions_of_the_test_images_are_in_a_table(run: RunOutput) -> None:
    with (run.directory / "test_predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["true_class"] == row["predicted_class"] for row in rows)
    assert right / len(rows) == pytest.approx(run.evaluation.accuracy)


def test_the_model_opens_in_a_process_without_this_project(
    run: RunOutput, split: Split, tmp_path: Path
) -> None:
    test = split.open_test("a test of ours", lambda opening: None)
    images, _ = test.gather(np.arange(32))
    np.save(tmp_path / "images.npy", images)
    program = """
import sys, numpy, keras
assert not any(name.split(".")[0] in ("search", "cnn_blocks") for name in sys.modules)
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
assert {weight.dtype for weight in model.weights} == {"float32"}
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))
"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    model = run.directory / "model.keras"
    # -I leaves out the current folder; the project's own path entry is removed as well.
    program = "import sys; sys.path = [p for p in sys.path if 'site-packages' in p or " + (
        "p.startswith(sys.base_prefix)]\nsys.meta_path = [f for f in sys.meta_path if "
        "not getattr(f, '__name__', '').startswith('_Editable')]\n" + program
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", program, str(model), "../images.npy", "answer.npy"],
        cwd=elsewhere,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    expected = run.model.predict(images, verbose=0)
    np.testing.assert_allclose(np.load(elsewhere / "answer.npy"), expected, atol=1e-6)


def test_scores_are_those_of_scikit_learn(run: RunOutput, split: Split) -> None:
    from sklearn import metrics

    subset = split.validation
    probabilities, labels = predict(run.model, subset, batch_size=100)
    predictions = probabilities.argmax(axis=1)
    evaluation = evaluate(run.model, subset, split.dataset.class_names)
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert evaluation.balanced_accuracy == pytest.approx(
        metrics.balanced_accuracy_score(labels, predictions)
    )
    assert evaluation.loss == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-4)
    report = metrics.classification_report(labels, predictions, output_dict=True)
    assert evaluation.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert evaluation.auc == pytest.approx(
        metrics.roc_auc_score(labels, probabilities, multi_class="ovr"), rel=1e-4
    )
    assert evaluation.metrics()["average_precision"] == pytest.approx(evaluation.average_precision)
    assert evaluation.macro_average.f1 == pytest.approx(evaluation.macro_f1)
    assert evaluation.weighted_average.precision == pytest.approx(
        report["weighted avg"]["precision"]
    )
    assert evaluation.per_class[3].recall == pytest.approx(report["3"]["recall"])
    assert evaluation.per_class[3].support == report["3"]["support"]
    assert "weighted average" in classification_report(evaluation)


def test_a_share_that_lacks_classes_is_scored_without_a_warning(
    run: RunOutput, split: Split
) -> None:
    subset = split.validation
    _, labels = subset.gather(np.arange(len(subset)))
    few = type(subset)(subset.images, subset.labels, subset.indices[labels < 2])
    evaluation = evaluate(run.model, few, split.dataset.class_names)
    assert evaluation.per_class[5].support == 0
    assert evaluation.confusion_matrix.shape == (10, 10)
    assert 0 < evaluation.balanced_accuracy <= 1
    assert 0 < evaluation.auc <= 1
    assert evaluation.absent_classes == tuple("23456789")
    zeros, ones = (int((labels == number).sum()) for number in (0, 1))
    assert evaluation.majority_accuracy == pytest.approx(max(zeros, ones) / (zeros + ones))
    assert evaluation.metrics()["majority_baseline"] == {
        "class": evaluation.commonest_class,
        "accuracy": evaluation.majority_accuracy,
    }


def test_an_interrupted_retraining_goes_on_where_it_was(
    run: RunOutput, split: Split, tmp_path: Path
) -> None:
    whole = Retraining(
        configuration=configuration(), split=split, compute=Compute(precision="float32")
    )
    with pytest.raises(KeyboardInterrupt):
        retrain(replace(whole, progress=Recorder(interrupt_after=2)), tmp_path)
    rest = Recorder()
    result = retrain(replace(whole, progress=rest), tmp_path)
    assert min(rest.epochs) > 2
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    # Equal to the uninterrupted run, except for the summation order of threads.
    assert result.history[-1]["loss"] == pytest.approx(run.metrics["retraining"]["loss"], rel=1e-3)
    again = retrain(whole, tmp_path)
    assert again.history == result.history
    for before, after in zip(result.weights, again.weights, strict=True):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(UserError, match="holds one retraining"):
        retrain(replace(whole, epochs=4), tmp_path)


def test_of_processes_with_one_winner_one_retrains_it(split: Split, tmp_path: Path) -> None:
    winner = Retraining(configuration=configuration(), split=split, epochs=2)
    better = replace(winner, configuration=configuration(learning_rate=0.02))
    with only_retraining(tmp_path, winner) as first:
        assert first
        with only_retraining(tmp_path, winner) as second:
            assert not second
        with only_retraining(tmp_path, better) as other:
            assert other
    with only_retraining(tmp_path, winner) as later:
        assert later


def test_an_unfinished_folder_is_found_again_and_a_finished_one_is_left(
    split: Split, tmp_path: Path
) -> None:
    winner = Retraining(
        configuration=configuration(), split=split, progress=Recorder(interrupt_after=1)
    )
    first = run_directory(tmp_path, winner)
    assert run_directory(tmp_path, winner) != first
    with pytest.raises(KeyboardInterrupt):
        retrain(winner, first)
    assert run_directory(tmp_path, winner) == first
    assert run_directory(tmp_path, replace(winner, epochs=9)) != first
    (first / "metrics.json").write_text("{}")
    assert run_directory(tmp_path, winner) != first


def test_validation_driven_settings_are_replaced_and_named(split: Split, tmp_path: Path) -> None:
    progress = Recorder(interrupt_after=1)
    with pytest.raises(KeyboardInterrupt):
        retrain(
            Retraining(
                configuration=configuration(schedule="plateau", early_stopping=2),
                split=split,
                progress=progress,
            ),
            tmp_path,
        )
    assert any("'plateau'" in note and "'cosine'" in note for note in progress.notes)
    assert any("early stopping" in note for note in progress.notes)


def test_held_out_images_leave_validation_driven_settings(split: Split, tmp_path: Path) -> None:
    progress = Recorder(interrupt_after=1)
    with pytest.raises(KeyboardInterrupt):
        retrain(
            Retraining(
                configuration=configuration(schedule="plateau", early_stopping=2),
                split=split,
                hold_out=True,
                progress=progress,
            ),
            tmp_path,
        )
    assert progress.notes == []


class Stopped(Recorder):
    """Interrupts after the first progress event."""

    def handle(self, event: Event) -> None:
        if isinstance(event, RetrainingAdvanced):
            raise KeyboardInterrupt


def planned_steps(directory: Path) -> int:
    plan = json.loads((directory / "retraining.json").read_text("utf-8"))
    assert "epochs" not in plan
    return int(plan["steps"])


def test_a_budget_becomes_steps_that_the_continuation_keeps(split: Split, tmp_path: Path) -> None:
    asked: list[float] = []

    def seconds_left() -> float:
        asked.append(0.5)
        return asked[-1]

    retraining = Retraining(
        configuration=configuration(),
        split=split,
        budget_seconds=600,
        seconds_left=seconds_left,
        compute=Compute(precision="float32"),
    )
    with pytest.raises(KeyboardInterrupt):
        retrain(replace(retraining, progress=Stopped()), tmp_path)
    chosen = planned_steps(tmp_path)
    result = retrain(retraining, tmp_path)
    assert asked == [0.5]
    assert chosen >= 5
    assert result.candidate.training.steps == planned_steps(tmp_path) == chosen
    assert result.history[-1]["step"] == pytest.approx(chosen, abs=len(result.history) / 2)


@pytest.mark.parametrize("epochs", [None, 2])
def test_a_budget_is_a_limit_and_the_rest_is_given_back(
    epochs: int | None, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_plan, "MOST_RETRAINING_PASSES", 3.0)
    progress = Recorder()
    result = retrain(
        Retraining(
            configuration=configuration(),
            split=split,
            epochs=epochs,
            budget_seconds=1e6,
            compute=Compute(precision="float32"),
            progress=progress,
        ),
        tmp_path,
    )
    # An epoch is five whole batches; three passes cover every image, which takes 18 steps.
    assert len(split.development) // 256 == 5
    expected = 18 if epochs is None else 10
    assert result.candidate.training.steps == result.history[-1]["step"] == expected
    assert len(result.history) == planned_steps(tmp_path)  # at most a hundred intervals
    if epochs is not None:
        assert result.epochs_trained == epochs
    assert any("the rest of the budget is not used" in note for note in progress.notes)


def test_a_budget_of_one_length_is_another_retraining_than_one_of_epochs(
    split: Split, tmp_path: Path
) -> None:
    of_epochs = Retraining(configuration=configuration(), split=split, progress=Stopped())
    with pytest.raises(KeyboardInterrupt):
        retrain(of_epochs, tmp_path)
    assert json.loads((tmp_path / "retraining.json").read_text("utf-8"))["epochs"] == 3
    with pytest.raises(UserError, match="holds one retraining"):
        retrain(replace(of_epochs, budget_seconds=60), tmp_path)


def test_a_file_alone_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_configuration(tmp_path / "best.yaml", configuration(epochs=1))
    progress = Recorder()
    output = retrain_from_configuration(
        path, data="digits", epochs=1, budget_seconds=60, progress=progress
    )
    assert output.directory.parent == Path("runs") / "tiny"
    assert {file.name for file in output.directory.iterdir()} == FILES | REPORT
    assert not list(tmp_path.rglob("*.db"))
    assert len(output.metrics["test_openings"]) == 1
    assert not progress.warnings
    written = read_configuration(output.directory / "best_config.yaml")
    assert (written.epochs, written.candidate.training.steps) == (None, 5)
    assert output.metrics["retraining"]["epochs"] == 1


def test_other_classes_are_allowed_and_said(tmp_path: Path) -> None:
    other = configuration().model_copy(update={"class_names": ("cat", "dog")})
    path = write_configuration(tmp_path / "best.json", other)
    progress = Recorder(interrupt_after=1)
    with pytest.raises(KeyboardInterrupt):
        retrain_from_configuration(path, data="digits", places=tmp_path, progress=progress)
    assert any("rebuilt for the 10" in warning for warning in progress.warnings)
