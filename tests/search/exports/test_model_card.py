"""The model card: filled from the run, and kept where a person filled it in."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from search.exports.model_card import size_words, write_model_card
from search.exports.run_folder import RunFolder, read_run_folder

ROW = {
    "file": "model.onnx",
    "runtime": "onnxruntime 1.32.0",
    "images": 256,
    "largest_difference": 2.4e-7,
    "agreeing_labels": 256,
    "accuracy": 0.984,
    "bytes": 1_234_567,
    "milliseconds": {"1": 1.824, "32": 40.5},
    "processor": "a processor",
    "threads": 2,
}


@pytest.fixture
def folder(finished_run: Path) -> RunFolder:
    return read_run_folder(finished_run)


def card(directory: Path) -> str:
    return (directory / "README.md").read_text(encoding="utf-8")


def test_a_card_holds_data_use_figures_limits_and_a_licence_to_fill_in(
    folder: RunFolder, tmp_path: Path
) -> None:
    write_model_card(tmp_path, folder, {"onnx": ROW})

    text = card(tmp_path)
    _, front, body = text.split("---\n", 2)
    content: dict[str, Any] = yaml.safe_load(front)
    assert content["license"] == "unknown"
    assert content["pipeline_tag"] == "image-classification"
    assert content["tags"] == ["cnn-search", "onnx"]
    (result,) = content["model-index"][0]["results"]
    assert result["dataset"] == {"name": "photos", "type": "photos", "split": "test"}
    accuracy = folder.metrics["test"]["accuracy"]
    assert result["metrics"][0] == {"type": "accuracy", "name": "Accuracy", "value": accuracy}
    titles = [line for line in body.splitlines() if line.startswith("## ")]
    assert titles == [
        f"## {title}"
        for title in ("Intended use", "Data", "Figures", "Files", "Use", "Limits", "Licence")
    ]
    assert "`digit 0`, `digit 1`" in body
    assert "Trained on 340 images, tested on 60 others" in body
    assert "were opened once" in body
    assert f"| accuracy | {accuracy:.4f} |" in body
    assert "| `model.onnx` | onnxruntime 1.32.0 | 1.2 MB | 2.4e-07 | 256 of 256 | 98.4% |" in body
    assert "1.82 ms | 40.50 ms |" in body
    assert body.count("To fill in") == 4
    # A person's folders are nobody's business.
    assert str(folder.path) not in text
    assert folder.environment["data"]["source"] not in text


def test_only_a_card_beside_a_keras_file_shows_how_keras_opens_it(
    folder: RunFolder, tmp_path: Path
) -> None:
    write_model_card(tmp_path, folder, {"onnx": ROW})
    assert "import keras" not in card(tmp_path) and "library_name" not in card(tmp_path)

    (tmp_path / "README.md").unlink()
    (tmp_path / "model.keras").touch()
    write_model_card(tmp_path, folder, {"onnx": ROW})
    assert "import keras" in card(tmp_path) and "library_name: keras" in card(tmp_path)


def test_what_a_person_wrote_is_kept_and_the_table_renewed(
    folder: RunFolder, tmp_path: Path
) -> None:
    write_model_card(tmp_path, folder, {"onnx": ROW})
    filled = card(tmp_path).replace("license: unknown", "license: mit") + "\nMy own words.\n"
    (tmp_path / "README.md").write_text(filled, encoding="utf-8")

    write_model_card(tmp_path, folder, {"openvino": {**ROW, "file": "openvino/model.xml"}})

    text = card(tmp_path)
    assert "license: mit" in text and text.endswith("\nMy own words.\n")
    assert "`openvino/model.xml`" in text and "`model.onnx`" not in text
    assert text.replace("`openvino/model.xml`", "`model.onnx`") == filled

    # Without the marks, nothing tells the table from the rest.
    own = text.replace("<!-- end of files -->", "")
    (tmp_path / "README.md").write_text(own, encoding="utf-8")
    write_model_card(tmp_path, folder, {"onnx": ROW})
    assert card(tmp_path) == own


def test_sentences_about_options_and_odd_names_do_no_harm(
    folder: RunFolder, tmp_path: Path
) -> None:
    notes = [
        "400 images were resized to 16x16 pixels: as asked. --image-size chooses another size.",
        "Use --fit pad.",
    ]
    data = {**folder.environment["data"], "name": "cats | dogs\n", "notes": notes}
    test = folder.metrics["test"]
    metrics = {
        **folder.metrics,
        "test_openings": [{}, {}, {}],
        "test": {
            **test,
            "auc": None,
            "absent_classes": ["owl"],
            "majority_baseline": {"class": "a|b", "accuracy": 0.1},
        },
    }
    odd = RunFolder(
        folder.path,
        tuple(f"class {number}" for number in range(30)),
        folder.decoding,
        {**folder.environment, "data": data},
        metrics,
    )

    write_model_card(tmp_path, odd, {"litert": {**ROW, "file": "model.tflite"}})

    text = card(tmp_path)
    assert yaml.safe_load(text.split("---\n")[1])["tags"] == ["cnn-search", "tflite"]
    assert "- 400 images were resized to 16x16 pixels: as asked.\n" in text
    assert "--" not in text.split("---\n", 2)[2].replace("|---", "").replace("<!--", "").replace(
        "-->", ""
    )
    assert "# cats | dogs\\n classifier" in text
    assert "always answering a\\|b" in text
    assert "| AUC (macro, one class against the rest) | - |" in text
    assert "were opened 3 times" in text
    assert "`class 19` and 10 more, in class_names.json" in text
    assert "for lack of test images: `owl`" in text


@pytest.mark.parametrize(
    ("size", "words"), [(812_345, "812 kB"), (999_999, "1000 kB"), (3_400_000, "3.4 MB")]
)
def test_sizes_are_words(size: int, words: str) -> None:
    assert size_words(size) == words
