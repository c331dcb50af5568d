"""Evaluations of exported models: the right images, a run's files, openings on record."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.cli import app as cli
from search.data import DataSource, Decoding
from search.data.levels import Levels
from search.exports import exporting
from search.exports.evaluating import EvaluationOutput, evaluate_file
from search.exports.exporting import export_run
from search.exports.saved_model import SAVED_MODEL
from search.results.exported_model import load_model, read_record, save_model
from search.results.predicting import predict_files

FILES = {
    "metrics.json",
    "classification_report.txt",
    "classification_report.csv",
    "test_predictions.csv",
    "confusion_matrix.png",
    "example_predictions.png",
}


def evaluated(model: Path, data: Path, **options: Any) -> EvaluationOutput:
    return evaluate_file(model, DataSource(location=str(data)), **options)


def openings(run: Path) -> list[dict[str, Any]]:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = metrics["test_openings"]
    return found


@pytest.fixture
def others(photos: Path, tmp_path: Path) -> Path:
    """Images with the same classes that had no part in the run."""
    folder = tmp_path / "others"
    for path in sorted(photos.rglob("*.png"))[::5]:
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.rotate(8).save(folder / path.parent.name / path.name)
    return folder


def test_all_images_of_other_data_are_evaluated(run: Path, others: Path) -> None:
    output = evaluated(run / "model.keras", others)

    assert output.directory.parent == run / "evaluations"
    assert {path.name for path in output.directory.iterdir()} == FILES
    assert output.images == "all 80 images of others"
    expected = predict_files(run / "model.keras", [others])
    truths = np.array([int(Path(file).parent.name[-1]) for file in expected.files])
    accuracy = (expected.probabilities.argmax(axis=1) == truths).mean()
    assert output.evaluation.accuracy == pytest.approx(accuracy)
    stored = json.loads((output.directory / "metrics.json").read_text(encoding="utf-8"))
    assert stored["test"]["accuracy"] == pytest.approx(accuracy)
    assert stored["runtime"].startswith("keras 3.")
    assert (stored["data"]["name"], stored["data"]["images"]) == ("others", output.images)
    with (output.directory / "test_predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {
        str(Path(file).relative_to(others)) for file in expected.files
    }
    # Data of its own opens no test images of the run.
    assert len(openings(run)) == 1


def test_data_with_test_images_is_evaluated_on_those(
    run: Path, photos: Path, others: Path, tmp_path: Path
) -> None:
    data = tmp_path / "roles"
    shutil.copytree(photos, data / "train")
    shutil.copytree(others, data / "test")

    output = evaluated(run / "model.keras", data)

    assert output.images == "the 80 test images of roles"
    assert output.evaluation.images == 80


def test_the_runs_own_test_images_are_opened_on_record(run: Path, photos: Path) -> None:
    before = json.loads((run / "metrics.json").read_text(encoding="utf-8"))

    output = evaluated(run / "model.keras", photos)

    assert output.images == "the 60 test images of the run"
    confusions = output.evaluation.confusion_matrix.tolist()
    assert confusions == before["test"]["confusion_matrix"]
    first, second = openings(run)
    assert first == before["test_openings"][0]
    assert (second["purpose"], second["images"]) == ("evaluation of model.keras", 60)
    after = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert after == {**before, "test_openings": [first, second]}


def test_an_exported_folder_answers_like_keras(
    run: Path, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "latency", lambda predict, images: 1.0)
    export_run(run, [SAVED_MODEL], output=tmp_path / "exported")

    keras = evaluated(run / "model.keras", others)
    folder = evaluated(tmp_path / "exported" / "saved_model", others, output=tmp_path / "new")
    file = evaluated(tmp_path / "exported" / "saved_model" / "saved_model.pb", others)

    assert folder.directory == tmp_path / "new"
    assert file.directory.parent == tmp_path / "exported" / "evaluations"
    for output in (folder, file):
        np.testing.assert_array_equal(output.evaluation.predictions, keras.evaluation.predictions)
        assert output.evaluation.loss == pytest.approx(keras.evaluation.loss, rel=1e-4)

    (tmp_path / "exported" / "class_names.json").unlink()
    with pytest.raises(UserError, match="Fix: keep the files of an export together"):
        evaluated(tmp_path / "exported" / "saved_model", others)


def test_other_classes_are_refused_and_nothing_is_opened(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    for change in ("missing", "unknown"):
        data = Path(shutil.copytree(photos, tmp_path / change))
        if change == "missing":
            shutil.rmtree(data / "digit 3")
        else:
            shutil.copytree(data / "digit 3", data / "three")
        part = {"missing": "lacks digit 3", "unknown": "also has three"}[change]
        with pytest.raises(UserError, match=f"{part}. Fix: name images with the same classes"):
            evaluated(run / "model.keras", data)
    assert len(openings(run)) == 1
    assert not (run / "evaluations").exists()


def test_arrays_that_number_their_classes_otherwise_are_mapped(
    run: Path, others: Path, tmp_path: Path
) -> None:
    names = [f"digit {number}" for number in (3, 1, 2, 0, 4, 5, 6, 7, 8, 9)]
    decoding = read_record(run / "model.keras").decoding
    assert decoding is not None
    images, labels = [], []
    for path in sorted(others.rglob("*.png")):
        images.append(decoding.decode(path.read_bytes()))
        labels.append(names.index(path.parent.name))
    path = tmp_path / "others.npz"
    np.savez(path, x_train=np.stack(images), y_train=labels, class_names=names)

    assert evaluated(run / "model.keras", path).evaluation.accuracy == pytest.approx(
        evaluated(run / "model.keras", others).evaluation.accuracy
    )


def test_deep_grey_is_decoded_with_the_models_levels(run: Path, tmp_path: Path) -> None:
    model = run / "model.keras"
    record = read_record(model)
    assert record.class_names is not None
    decoding = Decoding(size=(16, 16), fit="crop", levels=Levels(0, 4000))
    deep = tmp_path / "deep.keras"
    save_model(deep, load_model(model), record.class_names, decoding)
    generator = np.random.default_rng(0)
    folder = tmp_path / "deep"
    for name in record.class_names:
        (folder / name).mkdir(parents=True)
        pixels = generator.integers(900, 2000, (16, 16)).astype(np.uint16)
        Image.fromarray(pixels).save(folder / name / "a.png")

    output = evaluated(deep, folder)

    expected = predict_files(deep, [folder])
    np.testing.assert_allclose(
        output.evaluation.confidences, expected.probabilities.max(axis=1), rtol=1e-4
    )
    # Arrays decide by themselves: they cannot be decoded as the model expects.
    arrays = generator.integers(900, 2000, (20, 16, 16)).astype(np.uint16)
    names = np.array([f"digit {number // 2}" for number in range(20)])
    np.savez(tmp_path / "deep.npz", x_train=arrays, y_train=names)
    with pytest.raises(UserError, match="the model expects 0 to 4000"):
        evaluated(deep, tmp_path / "deep.npz")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("missing.keras", "there is no"),
        ("weights.h5", "takes a .keras, .onnx or .tflite file"),
        ("broken.keras", "must be a .keras file"),
        ("foreign.keras", "must say what its classes are"),
    ],
)
def test_what_is_no_exported_model_is_refused(
    name: str, part: str, run: Path, others: Path, tmp_path: Path
) -> None:
    (tmp_path / "weights.h5").touch()
    (tmp_path / "broken.keras").write_text("no archive")
    if name == "foreign.keras":
        load_model(run / "model.keras").save(tmp_path / name)

    with pytest.raises(UserError, match=part):
        evaluated(tmp_path / name, others)


def test_nothing_is_overwritten(run: Path, others: Path) -> None:
    with pytest.raises(UserError, match="takes a new or empty folder"):
        evaluated(run / "model.keras", others, output=run)


def test_the_command_prints_scores_and_the_folder(
    run: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--model", str(run / "model.keras"), "--data", str(others)]

    assert cli.invoke([*command, "--output", str(tmp_path / "new")]) == 0

    text = capsys.readouterr().out
    assert "images      all 80 images of others\n" in text
    assert "scores      accuracy 0." in text and "balanced accuracy" in text
    assert f"files       {tmp_path / 'new'}/\n" in text

    assert cli.invoke([*command, "--output", str(tmp_path / "json"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("folder") == str(tmp_path / "json")
    assert printed == json.loads((tmp_path / "json" / "metrics.json").read_text(encoding="utf-8"))

    assert cli.invoke([*command, "--max-bad-files", "3"]) == 2
    assert cli.invoke(["evaluate", "--model", "no_such.keras", "--data", "digits"]) == 2
