"""Exports of a really trained run: what agrees is written, and nothing else."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cnn_blocks.errors import UserError
from search.cli import app as cli
from search.data import DataSource, split_data
from search.exports import exporting
from search.exports.exporting import export_run
from search.exports.formats import Format, Predict, TrainedModel
from search.exports.images import real_images
from search.exports.keras_file import KERAS
from search.exports.run_folder import read_run_folder
from search.exports.saved_model import SAVED_MODEL, SavedModel

pytestmark = pytest.mark.usefixtures("quick_latency")
BESIDE = {"class_names.json", "decoding.json", "exports.json", "README.md"}


@pytest.fixture
def quick_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the seconds in which latencies are measured."""
    monkeypatch.setattr(exporting, "latency", lambda predict, images: float(len(images)))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "exports.json").read_text(encoding="utf-8"))
    return content


def test_agreeing_files_are_written_with_their_figures(run: Path, tmp_path: Path) -> None:
    told: list[Any] = []
    output = tmp_path / "exported"

    result = export_run(
        run,
        [KERAS, SAVED_MODEL],
        output=output,
        on_images=told.append,
        on_export=told.append,
    )

    assert names(output) == {"model.keras", "saved_model", *BESIDE}
    assert set(result.files) == names(output)
    assert told == ["256 training and validation images of photos", *result.exports]
    assert (output / "model.keras").read_bytes() == (run / "model.keras").read_bytes()
    classes = json.loads((output / "class_names.json").read_text(encoding="utf-8"))
    assert classes == [f"digit {number}" for number in range(10)]
    assert (output / "decoding.json").read_text() == (run / "decoding.json").read_text()
    stored = record(output)
    assert stored["refused"] == {}
    assert list(stored["formats"]) == ["keras", "saved_model"]
    row = stored["formats"]["saved_model"]
    assert row["file"] == "saved_model/saved_model.pb"
    assert row["runtime"].startswith("tensorflow 2.")
    assert (row["images"], row["agreeing_labels"]) == (256, 256)
    assert row["largest_difference"] <= 1e-6
    assert row["accuracy"] == row["keras_accuracy"] > 0.8
    assert row["milliseconds"] == {"1": 1.0, "32": 32.0}
    files = [path for path in (output / "saved_model").rglob("*") if path.is_file()]
    assert row["bytes"] == sum(path.stat().st_size for path in files)


def test_the_test_images_stay_closed(run: Path, photos: Path) -> None:
    metrics = (run / "metrics.json").read_bytes()
    split = split_data(DataSource(location=str(photos), image_size=16).load(), seed=1)
    # Of what may be drawn, everything: the test images must not be among it.
    test, _ = split.open_test("a test", lambda opening: None).gather(slice(None))

    found = real_images(read_run_folder(run), DataSource())
    export_run(run, [KERAS])

    # Small drawings may be equal; single test images are found by their files below.
    drawn = {image.tobytes() for image in (*found.images, *found.calibration)}
    unique = [image for image in test if image.tobytes() not in _all(split.development)]
    assert drawn.isdisjoint({image.tobytes() for image in unique})
    assert len(found.images) == 256
    assert len(found.calibration) == len(split.development) - 256
    assert (run / "metrics.json").read_bytes() == metrics


def _all(subset: Any) -> set[bytes]:
    images, _ = subset.gather(slice(None))
    return {image.tobytes() for image in images}


def wrong_scale(self: SavedModel, model: TrainedModel, path: Path) -> None:
    """Writes a network that takes images from 0 to 1, as a forgotten preprocessing does."""
    images = keras.Input(model.network.input_shape[1:], dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(1 / 255)(images)
    broken = keras.Model(images, model.network(scaled))
    broken.export(path.parent, format="tf_saved_model", verbose=False)


def test_a_broken_preprocessing_is_not_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SavedModel, "write", wrong_scale)
    before = names(run)

    assert cli.invoke(["export", "--run", str(run), "--formats", "saved_model"]) == 1

    assert names(run) == {*before, "exports.json"}
    stored = record(run)
    assert stored["formats"] == {}
    refused = stored["refused"]["saved_model"]
    assert "differ from those of Keras by" in refused["reason"]
    assert refused["largest_difference"] > 1e-3
    assert "bytes" not in refused
    assert f"saved_model     not written: {refused['reason']}" in capsys.readouterr().out


@dataclass(frozen=True)
class Outputs(Format):
    """A format for tests: whatever is written, the outputs are those of a function."""

    outputs: Any = None
    networks: list[keras.Model] = field(default_factory=list)

    def write(self, model: TrainedModel, path: Path) -> None:
        path.write_text(self.name)
        self.networks.append(model.network)

    def load(self, path: Path) -> Predict:
        def predict(images: Any) -> Any:
            return self.outputs(np.asarray(self.networks[-1].predict_on_batch(images)), images)

        return predict


def outputs_of(name: str, function: Any, *, is_exact: bool) -> Outputs:
    return Outputs(
        name=name, file=f"{name}.file", runtime="keras", is_exact=is_exact, outputs=function
    )


def same(outputs: Any, images: Any) -> Any:
    return outputs


def fail(outputs: Any, images: Any) -> Any:
    raise RuntimeError("no kernel\nfor this")


def fixed_batch(outputs: Any, images: Any) -> Any:
    if len(images) > 1:
        raise ValueError("expected a batch of 1")
    return outputs


def test_each_format_is_judged_alone(run: Path) -> None:
    formats = [
        outputs_of("close", lambda outputs, images: outputs + 2e-4, is_exact=True),
        outputs_of("failing", fail, is_exact=True),
        outputs_of("fixed", fixed_batch, is_exact=True),
        outputs_of("rounded", lambda outputs, images: outputs.round(2), is_exact=False),
        outputs_of("worse", lambda outputs, images: np.roll(outputs, 1, axis=1), is_exact=False),
        outputs_of("narrow", lambda outputs, images: outputs[:, :4], is_exact=False),
    ]

    result = export_run(run, formats)

    reasons = {export.format.name: export.reason for export in result.exports}
    assert set(result.files) == {"rounded.file", *BESIDE}
    assert reasons["rounded"] is None
    assert reasons["failing"] == "RuntimeError: no kernel"
    assert reasons["fixed"] == "ValueError: expected a batch of 1"
    assert "by 2.0e-04, more than 0.0001" in str(reasons["close"])
    assert "point is lost" in str(reasons["worse"])
    assert "shape (256, 4)" in str(reasons["narrow"])
    assert [path.name for path in run.glob("*.file")] == ["rounded.file"]
    assert set(record(run)["refused"]) == {"close", "failing", "fixed", "worse", "narrow"}
    assert not list(run.glob(".*"))


def test_later_exports_join_earlier_ones(run: Path) -> None:
    earlier = outputs_of("first", same, is_exact=True)
    export_run(run, [earlier])
    before = record(run)["formats"]["first"]

    # A file that was written once still agrees: it stays, with its figures.
    again = outputs_of("first", fail, is_exact=True)
    result = export_run(run, [again, outputs_of("second", same, is_exact=True)])

    assert set(result.files) == {"first.file", "second.file", *BESIDE}
    assert (run / "first.file").is_file()
    stored = record(run)
    assert set(stored["formats"]) == {"first", "second"}
    assert stored["formats"]["first"] == before
    assert set(stored["refused"]) == {"first"}

    (run / "second.file").unlink()
    export_run(run, [earlier])
    stored = record(run)
    assert (set(stored["formats"]), stored["refused"]) == ({"first"}, {})


def test_a_folder_holds_the_exports_of_one_model(run: Path, tmp_path: Path) -> None:
    for content, fix in (
        ('{"model_sha256": "0", "formats": {}, "refused": {}}', "choose another --output"),
        ("[]", "Fix: delete it"),
    ):
        (tmp_path / "exports.json").write_text(content)
        with pytest.raises(UserError, match=fix):
            export_run(run, [KERAS], output=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="need a writable folder"):
        export_run(run, [KERAS], output=tmp_path / "file")


def moved(run: Path, source: Path) -> None:
    """Makes a run's images lie elsewhere, as far as the run knows."""
    path = run / "environment.json"
    environment = json.loads(path.read_text(encoding="utf-8"))
    environment["data"]["source"] = str(source)
    path.write_text(json.dumps(environment), encoding="utf-8")


def test_images_that_are_gone_are_asked_for(run: Path, photos: Path, tmp_path: Path) -> None:
    moved(run, tmp_path / "gone")

    with pytest.raises(UserError, match=r"gone no longer exists.*Fix: name them.*--data"):
        export_run(run, [KERAS])
    assert not (run / "exports.json").exists()

    # They are the run's own, wherever they lie: its test images stay closed.
    found = real_images(read_run_folder(run), DataSource(location=str(photos)))
    assert found.described == "256 training and validation images of photos"


def test_changed_data_lends_no_test_image_either(run: Path, photos: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(photos, tmp_path / "changed"))
    (changed / "digit 0" / "00.png").unlink()
    folder = read_run_folder(run)

    found = real_images(folder, DataSource(location=str(changed)))

    assert found.described == "256 images of changed, which are not the run's images"
    tested = len(folder.test_files)
    assert tested == 60
    left = 400 - 1 - len(folder.test_files - {"digit 0/00.png"})
    assert len(found.images) + len(found.calibration) == left


def test_test_images_alone_are_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    for name in read_run_folder(run).test_files:
        (only / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / name, only / name)

    with pytest.raises(UserError, match="must not use the run's test images"):
        real_images(read_run_folder(run), DataSource(location=str(only)))


def test_images_of_other_classes_are_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    (other / "digit 3").rename(other / "three")

    with pytest.raises(UserError, match="lacks digit 3 and also has three"):
        real_images(read_run_folder(run), DataSource(location=str(other)))


@pytest.mark.parametrize("missing", ["metrics.json", "environment.json", "model.keras"])
def test_an_unfinished_folder_is_no_run(run: Path, missing: str) -> None:
    (run / missing).unlink()

    with pytest.raises(UserError, match="No such file"):
        read_run_folder(run)


def test_an_interruption_leaves_nothing_half_written(run: Path) -> None:
    def interrupt(outputs: Any, images: Any) -> Any:
        raise KeyboardInterrupt

    before = names(run)
    with pytest.raises(KeyboardInterrupt):
        export_run(run, [outputs_of("interrupted", interrupt, is_exact=True)])
    assert names(run) == before


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--run", "RUN", "--study", "x", "--to", "a.yaml"], "received both"),
        ([], "received neither"),
        (["--study", "x"], "'--to' is missing"),
        (["--study", "x", "--to", "a.yaml", "--formats", "onnx"], "does not take --formats"),
        (["--run", "RUN", "--to", "a.yaml"], "does not take --to"),
        (["--run", "RUN", "--runs-directory", "x", "--storage", "y"], "leave them out"),
        (["--run", "RUN", "--formats", "onx"], "'onnx'"),
        (["--run", "no/such/run"], "no/such/run"),
        (["--run", "RUN", "--layout", "odd"], "'classes'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_go_together(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["export", *arguments]) == 2

    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_the_command_prints_a_table_and_uploads_nothing_by_itself(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.exports import hub

    monkeypatch.setattr(hub, "upload", pytest.fail)

    assert cli.invoke(["export", "--run", str(run)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "compared with Keras on 256 training and validation images of photos"
    assert lines[2].split()[:3] == ["format", "file", "size"]
    assert [line.split()[:2] for line in lines[3:5]] == [
        ["keras", "model.keras"],
        ["saved_model", "saved_model"],
    ]
    assert "256 of 256" in lines[4]
    assert len({len(line) for line in lines[2:5]}) == 1
    assert lines[6].startswith(f"{run}/: model.keras, saved_model, class_names.json")


def test_the_table_as_json_leaves_stdout_to_programs(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["export", "--run", str(run), "--formats", "keras", "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed["folder"] == str(run)
    assert printed["compared_on"] == "256 training and validation images of photos"
    stored = record(run)["formats"]
    assert {
        name: row | {"compared_on": printed["compared_on"]}
        for name, row in printed["formats"].items()
    } == stored
    assert "model.keras" in printed["files"]

    assert cli.invoke(["export", "--study", "x", "--to", "a.yaml", "--json"]) == 2
    assert "does not take --json" in capsys.readouterr().err
