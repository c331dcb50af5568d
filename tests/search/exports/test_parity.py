"""Every format in its own runtime against Keras, on a really trained winner with exact GELU.

Needs the extras: `make test-exports` installs them.
"""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from search.data import DataSource
from search.exports import exporting
from search.exports.choice import FORMATS, chosen_formats
from search.exports.evaluating import evaluate_file
from search.exports.exporting import export_run
from search.exports.images import real_images
from search.exports.model_card import write_model_card
from search.exports.run_folder import read_run_folder

pytestmark = pytest.mark.slow


def require(*modules: str) -> None:
    """Skips a test, and says why, where an extra is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make test-exports installs them)")


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    content = json.loads((folder / "exports.json").read_text(encoding="utf-8"))
    assert content["refused"] == {}
    found: dict[str, dict[str, Any]] = content["formats"]
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_agree_with_keras(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(*FORMATS[name][0].modules)
    monkeypatch.setattr(exporting, "latency", lambda predict, images: 1.0)
    output = tmp_path / "exported"

    result = export_run(run, chosen_formats(name), output=output)

    stored = rows(output)
    assert list(stored) == [one.name for one in FORMATS[name]]
    for one in FORMATS[name]:
        row = stored[one.name]
        assert row["images"] == 256
        assert row["keras_accuracy"] > 0.8
        if one.is_exact:
            assert row["largest_difference"] <= 1e-5
            assert row["agreeing_labels"] == 256
        else:
            assert row["largest_difference"] > 0
            assert row["keras_accuracy"] - row["accuracy"] <= 0.01
    sizes = [row["bytes"] for row in stored.values()]
    assert sizes == sorted(sizes, reverse=True)  # float32, float16, int8
    assert {path.name for path in output.iterdir()} == set(result.files)

    # The same file through `evaluate`, which opens it by its name alone.
    images = real_images(read_run_folder(run), DataSource())
    path = output / FORMATS[name][0].file
    outputs = FORMATS[name][0].load(path)(images.images)
    network = keras.saving.load_model(run / "model.keras")
    np.testing.assert_allclose(outputs, network.predict_on_batch(images.images), atol=1e-4)


def test_an_exported_file_is_evaluated_like_the_model(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("tf2onnx", "onnx", "onnxruntime")
    monkeypatch.setattr(exporting, "latency", lambda predict, images: 1.0)
    export_run(run, chosen_formats("onnx"))
    data = DataSource(location=str(photos))

    found = evaluate_file(run / "model.onnx", data).evaluation

    stored = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert found.confusion_matrix.tolist() == stored["test"]["confusion_matrix"]
    assert found.loss == pytest.approx(stored["test"]["loss"], rel=1e-4)
    assert [opening["purpose"] for opening in stored["test_openings"]] == [
        "final evaluation",
        "evaluation of model.onnx",
    ]


def test_onnx_asks_for_images_alone_and_computes_gelu_without_erfc(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("tf2onnx", "onnx", "onnxruntime")
    import onnx

    monkeypatch.setattr(exporting, "latency", lambda predict, images: 1.0)
    export_run(run, chosen_formats("onnx"), output=tmp_path)

    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [value.name for value in graph.input] == ["images"]
    assert [value.name for value in graph.output] == ["probabilities"]
    operators = {node.op_type for node in graph.node}
    assert "Erf" in operators and "Erfc" not in operators


def test_openvino_sends_no_telemetry(run: Path, tmp_path: Path, repository: Path) -> None:
    require("openvino")
    importlib.metadata.version("openvino-telemetry")  # or nothing would be shown
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join([str(repository), *sys.path])}

    done = subprocess.run(
        [sys.executable, "-m", "search", "export", "--run", str(run), "--formats", "openvino"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    # Where its telemetry is on, it keeps an identifier of the user here.
    assert not (home / "intel").exists()


def test_the_hub_reads_the_model_card(finished_run: Path, tmp_path: Path) -> None:
    require("huggingface_hub")
    folder = read_run_folder(finished_run)
    write_model_card(tmp_path, folder, {})
    # Not in this process: an event loop that the Hub's client brings disturbs Hypothesis' plugin.
    script = (
        "import json, sys\n"
        "from huggingface_hub import ModelCard\n"
        "data = ModelCard.load(sys.argv[1]).data\n"
        "result = data.eval_results[0]\n"
        "print(json.dumps([data.license, data.pipeline_tag, result.task_type,\n"
        "                  result.dataset_name, result.metric_value]))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "README.md")],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    accuracy = folder.metrics["test"]["accuracy"]
    task = "image-classification"
    assert json.loads(done.stdout) == ["unknown", task, task, "photos", pytest.approx(accuracy)]
