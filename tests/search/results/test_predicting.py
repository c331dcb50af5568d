"""Predictions of files, decoded as the training images were, whatever else is in the folder."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from cnn_blocks.errors import UserError
from search.cli import app as cli
from search.data import Decoding
from search.data.levels import Levels
from search.results import predicting
from search.results.exported_model import save_model
from search.results.predicting import Predictor, predict_files

NAMES = ("cat", "dog", "owl")
DECODING = Decoding(size=(8, 12), fit="crop", levels=Levels(100, 4000))


def network(size: tuple[int | None, int | None] = (8, 12)) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((*size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model.keras"
    save_model(path, network(), NAMES, DECODING)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number, name in enumerate(["a.png", "more/b.png"]):
        pixels = generator.integers(0, 256, (30, 40 + 30 * number, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    deep = generator.integers(100, 4000, (20, 20)).astype(np.uint16)
    Image.fromarray(deep).save(root / "deep.png")
    (root / "._a.png").write_bytes(b"a leftover of macOS")
    (root / "notes.txt").write_text("no image")
    return root


def test_files_are_decoded_as_the_record_says(model: Path, photos: Path) -> None:
    found = predict_files(model, [photos / "deep.png", photos])

    assert found.class_names == NAMES
    names = ["deep.png", "a.png", "deep.png", "more/b.png"]
    assert found.files == tuple(str(photos / name) for name in names)
    images = np.stack([DECODING.decode(Path(file).read_bytes()) for file in found.files])
    expected = keras.saving.load_model(model).predict(images, verbose=0)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert (found.unreadable, found.notes) == ((), ())
    best = found.best(0, 2)
    assert best[0][0] == NAMES[expected[0].argmax()]
    assert best[0][1] == pytest.approx(expected[0].max())
    assert len(best) == 2


def test_what_cannot_be_read_is_told_file_by_file(model: Path, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"broken")
    (photos / "empty").mkdir()

    found = predict_files(model, [photos, photos / "missing.png", photos / "empty"])

    assert len(found.files) == len(found.probabilities) == 3
    assert dict(found.unreadable) == {
        str(photos / "broken.png"): "not an image",
        str(photos / "missing.png"): "No such file or directory",
        str(photos / "empty"): found.unreadable[0][1],
    }
    assert "contains no PNG" in found.unreadable[0][1]


def test_a_model_without_a_record_says_what_is_assumed(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "foreign.keras"
    network().save(path)

    found = predict_files(path, [photos / "a.png"])

    assert found.class_names == ("0", "1", "2")
    (assumed, unnamed) = found.notes
    assert "8x12 pixels (height x width), --fit stretch" in assumed
    assert "no class names" in unnamed
    image = Decoding(size=(8, 12), fit="stretch").decode((photos / "a.png").read_bytes())
    expected = keras.saving.load_model(path).predict(image[None], verbose=0)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)


def test_a_model_of_any_size_asks_for_one(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "any.keras"
    network((None, None)).save(path)

    with pytest.raises(UserError, match="Fix: give --image-size"):
        predict_files(path, [photos])

    assert len(predict_files(path, [photos], image_size=10, fit="pad").files) == 3


@pytest.mark.parametrize("asked", [{"fit": "pad"}, {"image_size": 32}])
def test_another_decoding_than_the_records_is_refused(model: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="Fix: leave out --image-size and --fit"):
        predict_files(model, ["a.png"], **asked)


def test_what_is_no_model_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "text.keras").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "table.keras")
    for path in (*tmp_path.glob("*.keras"), tmp_path / "missing.keras", tmp_path):
        with pytest.raises(UserError, match=r"Fix: give the model\.keras of a run") as error:
            predict_files(path, ["a.png"])
        assert str(path) in str(error.value)


def test_a_decoding_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.keras"
    record = json.loads(DECODING.model_dump_json()) | {"resampling": "lanczos"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("decoding.json", json.dumps(record))
    with pytest.raises(UserError, match=r"resampling = 'lanczos'\. Fix: use the version"):
        predict_files(path, ["a.png"])


def test_the_command_prints_lines(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["predict", "--model", str(model), str(photos), "--top", "2"]) == 0

    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert [line.split()[0] for line in lines] == [
        str(photos / name) for name in ("a.png", "deep.png", "more/b.png")
    ]
    assert all(line.count("%") == 2 for line in lines)
    assert output.err == ""


def test_the_command_prints_tables_for_programs(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = photos / os.fsdecode(b"caf\xe9\n.png")
    odd.write_bytes(b"broken")
    command = ["predict", "--model", str(model), str(photos)]

    assert cli.invoke([*command, "--csv"]) == 1
    output = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(output.out)))
    assert [(Path(row["file"]).name, row["rank"]) for row in rows] == [
        (name, rank) for name in ("a.png", "deep.png", "b.png") for rank in "123"
    ]
    assert output.err == f"cannot be read: {photos}/caf\\xe9\\n.png (not an image)\n"

    assert cli.invoke([*command, "--json", "--top", "1"]) == 1
    *read, unread = json.loads(capsys.readouterr().out)
    assert [len(entry["predictions"]) for entry in read] == [1, 1, 1]
    assert unread == {"file": f"{photos}/caf\\xe9\\n.png", "error": "not an image"}

    assert cli.invoke([*command, "--json", "--csv"]) == 2
    assert "Fix: leave out one" in capsys.readouterr().err


def test_an_interruption_ends_the_command_without_a_traceback(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict", interrupt)

    assert cli.invoke(["predict", "--model", str(model), "a.png"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_progress_counts_images_in_chunks(
    model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "_CHUNK", 2)
    told: list[tuple[int, int]] = []

    found = Predictor(model).predict([photos], on_progress=lambda *counts: told.append(counts))

    assert told == [(2, 3), (3, 3)]
    assert len(found.files) == 3
