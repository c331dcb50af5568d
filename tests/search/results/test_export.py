"""Figures for few and many classes, atomic files, and the stored winner."""

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import optuna
import pytest

from cnn_blocks.errors import UserError
from search.data import Subset
from search.optimize.winner import export_best_configuration
from search.results import class_labels
from search.results.configuration_file import read_configuration
from search.results.evaluate import ClassScores, Evaluation
from search.results.exported_model import read_class_names
from search.results.figures import draw_confusion_matrix, draw_examples, draw_learning_curve
from search.results.files import (
    classification_report,
    prediction_rows,
    write_json,
    write_table,
)
from search.storage import StudyAttribute, TrialAttribute, open_storage
from search.system.files import whole_file

CANDIDATE = json.dumps(
    {
        "model": {
            "backbone": {"kind": "staged", "stages": [{"block": {"kind": "plain"}}]},
            "head": {"kind": "pooled"},
        },
        "training": {},
    }
)


def evaluation(names: list[str], *, accuracy: float = 0.8) -> Evaluation:
    generator = np.random.default_rng(0)
    classes, images = len(names), 20 * len(names)
    labels = generator.integers(0, classes, images)
    right = generator.random(images) < accuracy
    predictions = np.where(right, labels, (labels + 1) % classes)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predictions), 1)
    scores = [ClassScores(name, 0.5, 0.5, 0.5, 20) for name in names]
    return Evaluation(
        images=images,
        loss=0.5,
        accuracy=float(right.mean()),
        balanced_accuracy=0.5,
        macro_f1=0.5,
        auc=0.5,
        average_precision=0.5,
        per_class=tuple(scores),
        macro_average=ClassScores("macro average", 0.5, 0.5, 0.5, images),
        weighted_average=ClassScores("weighted average", 0.5, 0.5, 0.5, images),
        confusion_matrix=matrix,
        labels=labels,
        predictions=predictions,
        confidences=generator.random(images).astype(np.float32),
    )


def size(path: Path) -> tuple[int, int]:
    """Returns width and height from a PNG's header."""
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_a_confusion_matrix_grows_with_its_classes_up_to_a_limit(tmp_path: Path) -> None:
    widths = []
    for classes in (2, 10, 60, 150):
        path = tmp_path / f"{classes}.png"
        draw_confusion_matrix(path, evaluation([f"class {i}" for i in range(classes)]))
        widths.append(size(path)[0])
    assert widths[0] < widths[1] < widths[2] == widths[3]


def test_class_names_may_hold_any_letters(tmp_path: Path) -> None:
    names = ["$x^", "猫", "a name that is far too long for an axis", "é", "100%", "a_b{c}"]
    scores = evaluation(names)
    draw_confusion_matrix(tmp_path / "matrix.png", scores)
    images = np.zeros((scores.images, 8, 8, 3), np.uint8)
    subset = Subset(images, scores.labels, np.arange(scores.images))
    draw_examples(tmp_path / "examples.png", scores, subset)
    assert "猫" in classification_report(scores)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_examples_without_mistakes_or_without_right_answers(
    tmp_path: Path, accuracy: float
) -> None:
    scores = evaluation(["cat", "dog"], accuracy=accuracy)
    images = np.zeros((scores.images, 8, 8, 3), np.uint8)
    draw_examples(
        tmp_path / "examples.png", scores, Subset(images, scores.labels, np.arange(scores.images))
    )
    assert size(tmp_path / "examples.png")[0] > 1000


def test_a_learning_curve_of_a_single_epoch_and_one_of_many(tmp_path: Path) -> None:
    rows = [{"epoch": 1.0, "loss": 2.0, "accuracy": 0.1}, {"epoch": 2, "loss": 1, "accuracy": 0.5}]
    for count in (1, 2):
        draw_learning_curve(
            tmp_path / f"{count}.png",
            rows[:count],
            evaluation=evaluation(["cat", "dog"]),
            search_curve=[(0.5, 0.1), (1, 0.2)],
        )
    assert size(tmp_path / "1.png") == size(tmp_path / "2.png")


def test_pictures_leave_no_global_state(tmp_path: Path) -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    draw_confusion_matrix(tmp_path / "matrix.png", evaluation(["cat", "dog"]))
    assert pyplot.get_fignums() == before


def test_a_failed_write_leaves_what_was_there_and_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_json_holds_no_number_that_json_lacks(tmp_path: Path) -> None:
    content = {"a": float("nan"), "b": [np.float32(0.5), np.int64(3)], "c": float("inf")}
    write_json(tmp_path / "metrics.json", content)
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert stored == {"a": None, "b": [0.5, 3], "c": None}


def test_a_table_has_a_column_for_every_key(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", [{"a": 1}, {"a": 2, "b": 'x,"y"'}])
    assert (tmp_path / "table.csv").read_text() == 'a,b\n1,\n2,"x,""y"""\n'


def test_every_test_image_gets_a_row_whatever_its_file_is_called(tmp_path: Path) -> None:
    scores = evaluation(["cat", "dog"])
    images = np.zeros((50, 8, 8, 3), np.uint8)
    files = (*(f"{number}.png" for number in range(48)), "caf\udce9.png", "two\nlines.png")
    indices = np.arange(10, 50)
    subset = Subset(images, np.zeros(50, np.int64), indices, files)
    write_table(tmp_path / "test_predictions.csv", prediction_rows(scores, subset))
    with (tmp_path / "test_predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == scores.images
    assert rows[0] == {
        "file": "10.png",
        "true_class": scores.class_names[scores.labels[0]],
        "predicted_class": scores.class_names[scores.predictions[0]],
        "probability": f"{scores.confidences[0]:.6f}",
    }
    assert [row["file"] for row in rows[-2:]] == ["caf\\xe9.png", "two\\nlines.png"]

    from_an_array = Subset(images, np.zeros(50, np.int64), indices)
    assert [row["index"] for row in prediction_rows(scores, from_an_array)] == indices.tolist()


def test_class_names_come_from_our_files_only(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "foreign.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "text.keras").write_text("no archive")
    for name in ("foreign.keras", "text.keras", "missing.keras"):
        with pytest.raises(UserError, match=name):
            read_class_names(tmp_path / name)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = optuna.create_study(storage=open_storage(url), study_name="tiny", direction="maximize")
    attributes = {
        "metric": "accuracy",
        "seed": 5,
        "image_shape": "16x24",
        StudyAttribute.CLASS_NAMES: ["cat", "dog"],
        StudyAttribute.RETRAIN_EPOCHS: 30,
    }
    for name, value in attributes.items():
        study.set_user_attr(name, value)
    for value in (0.5, 0.75, 0.25):
        trial = study.ask()
        trial.set_user_attr(TrialAttribute.CANDIDATE, CANDIDATE)
        study.tell(trial, value)
    return url


@pytest.mark.usefixtures("components_forgotten")
def test_a_block_from_the_studys_own_file_is_found_in_a_new_process(
    tmp_path: Path, storage: str
) -> None:
    source = tmp_path / "my_study.py"
    source.write_text(
        "from cnn_blocks.config import Block\n"
        "from cnn_blocks.registry import block\n"
        "@block\n"
        "class FromStudyFile(Block):\n"
        "    pass\n"
    )
    study = optuna.load_study(study_name="tiny", storage=open_storage(storage))
    study.set_user_attr(StudyAttribute.SOURCE, str(source))
    trial = study.ask()
    own = CANDIDATE.replace('"plain"', '"from_study_file"')
    trial.set_user_attr(TrialAttribute.CANDIDATE, own)
    study.tell(trial, 0.99)
    configuration = export_best_configuration("tiny", tmp_path / "best.yaml", storage=storage)
    assert configuration.components == {"from_study_file": str(source)}
    source.unlink()
    with pytest.raises(UserError, match=r"my_study\.py"):
        read_configuration(tmp_path / "best.yaml")


@pytest.mark.parametrize("name", ["best.yaml", "best.json"])
def test_the_best_trial_of_a_stored_study_becomes_a_file(
    tmp_path: Path, storage: str, name: str
) -> None:
    export_best_configuration("tiny", tmp_path / name, storage=storage)
    stored = read_configuration(tmp_path / name)
    assert (stored.study, stored.trial, stored.value, stored.metric) == (
        "tiny",
        1,
        0.75,
        "accuracy",
    )
    assert (stored.seed, stored.epochs, stored.image_size) == (5, 30, (16, 24))
    assert stored.fit == "stretch"  # the fit of versions that stored none
    assert stored.class_names == ("cat", "dog")
    assert stored.candidate.model.any_head.kind == "pooled"


def test_an_unknown_study_and_one_without_a_winner_are_errors(tmp_path: Path, storage: str) -> None:
    with pytest.raises(UserError, match="tiny"):
        export_best_configuration("tini", tmp_path / "best.yaml", storage=storage)
    optuna.create_study(storage=open_storage(storage), study_name="empty")
    with pytest.raises(UserError, match="empty"):
        export_best_configuration("empty", tmp_path / "best.yaml", storage=storage)
    assert not (tmp_path / "best.yaml").exists()


def test_a_report_has_one_line_for_each_class() -> None:
    text = classification_report(evaluation(["a\nb", "c\td"]))

    assert [line.split()[0] for line in text.splitlines()[1:3]] == [r"a\nb", r"c\td"]


def test_letters_that_no_font_has_leave_figures_without_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_labels, "_characters", lambda family: set(range(128)))
    scores = evaluation(["\u732b", "\u72d7"])
    draw_confusion_matrix(tmp_path / "matrix.png", scores)
    images = np.zeros((scores.images, 8, 8, 3), np.uint8)
    subset = Subset(images, scores.labels, np.arange(scores.images))
    draw_examples(tmp_path / "examples.png", scores, subset)
    assert size(tmp_path / "matrix.png")[0] > 500
