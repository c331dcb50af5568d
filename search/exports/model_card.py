"""The model card: README.md in the format of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.data.names import shown
from search.exports.run_folder import MODEL, RunFolder
from search.system.files import write_text

CARD = "README.md"
_FILES_BEGIN = "<!-- files: `export` rewrites this part -->"
_FILES_END = "<!-- end of files -->"
_WEAKEST_CLASSES = 3
_MOST_LISTED_CLASSES = 20
_FIT_WORDS = {
    "crop": "cropped around the centre",
    "pad": "padded with black",
    "stretch": "stretched",
}
_TAGS = {"onnx": "onnx", "litert": "tflite", "openvino": "openvino"}


def write_model_card(
    directory: Path, run: RunFolder, formats: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes README.md; in an existing one, replaces only the table of files.

    `formats` are those of exports.json. Everything that a person filled in is kept.
    """
    path = directory / CARD
    has_keras = (directory / MODEL).is_file()
    files = _files(formats)
    if path.exists():
        text = path.read_text(encoding="utf-8")
        before, begin, rest = text.partition(_FILES_BEGIN)
        _, end, after = rest.partition(_FILES_END)
        if begin and end:
            write_text(path, f"{before}{files}{after}")
        return
    write_text(path, f"{_front_matter(run, formats, has_keras)}\n{_body(run, files, has_keras)}")


def _front_matter(run: RunFolder, formats: Mapping[str, Any], has_keras: bool) -> str:
    import yaml

    test = run.metrics["test"]
    tags = ["cnn-search", *(tag for name, tag in _TAGS.items() if name in formats)]
    dataset = run.environment["data"]["name"]
    content = {
        "license": "unknown",
        **({"library_name": "keras"} if has_keras else {}),
        "pipeline_tag": "image-classification",
        "tags": tags,
        "metrics": ["accuracy", "f1"],
        "model-index": [
            {
                "name": _title(run),
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": dataset, "type": dataset, "split": "test"},
                        "metrics": [
                            {"type": "accuracy", "name": "Accuracy", "value": test["accuracy"]},
                            {"type": "f1", "name": "Macro F1", "value": test["macro_f1"]},
                        ],
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n"


def _title(run: RunFolder) -> str:
    return f"{shown(run.environment['data']['name'])} classifier"


def _body(run: RunFolder, files: str, has_keras: bool) -> str:
    sections = {
        "Intended use": _intended_use(run),
        "Data": _data(run),
        "Figures": _figures(run),
        "Files": files,
        "Use": _use(run, has_keras),
        "Limits": _limits(run),
        "Licence": (
            "To fill in: the licence of this model, here and as `license` at the top of this file. "
            "The licence of the images may restrict it."
        ),
    }
    text = "\n\n".join(f"## {title}\n\n{section}" for title, section in sections.items())
    return f"# {_title(run)}\n\n{_summary(run)}\n\n{text}\n"


def _summary(run: RunFolder) -> str:
    height, width = run.decoding.size
    retraining, test = run.metrics["retraining"], run.metrics["test"]
    origin = "trained" if run.metrics.get("study") is None else "found by architecture search"
    return (
        f"A convolutional network for {len(run.class_names)} classes, {origin} with cnn-search: "
        f"{retraining['parameters']:,} parameters, {height}x{width} RGB images in, one probability "
        f"for each class out. Accuracy on {test['images']:,} test images: {test['accuracy']:.1%}."
    )


def _intended_use(run: RunFolder) -> str:
    names = [f"`{shown(name)}`" for name in run.class_names]
    listed = ", ".join(names[:_MOST_LISTED_CLASSES])
    more = len(names) - _MOST_LISTED_CLASSES
    rest = f" and {more} more, in class_names.json" if more > 0 else ""
    return (
        f"Says which one of these classes an image shows: {listed}{rest}. The images must be of "
        f"the kind that it was trained on.\n\n"
        f"To fill in: who should use it, for what, and for what not."
    )


def _data(run: RunFolder) -> str:
    data, decoding = run.environment["data"], run.decoding
    height, width = decoding.size
    lines = [
        f"- Name: {shown(data['name'])}; fingerprint `{data['fingerprint'][:16]}`.",
        f"- Trained on {run.metrics['retraining']['images']:,} images, tested on "
        f"{run.metrics['test']['images']:,} others.",
        f"- Images are resized to {height}x{width} pixels (height x width), antialiased; those of "
        f"another shape are {_FIT_WORDS[decoding.fit]}. decoding.json has all settings that decide "
        f"which pixels the network sees.",
        *(f"- {shown(note)}" for note in map(_without_options, data["notes"]) if note),
        "- To fill in: where the images come from, who took and labelled them, their licence.",
    ]
    return "\n".join(lines)


def _figures(run: RunFolder) -> str:
    test = run.metrics["test"]
    openings = len(run.metrics["test_openings"])
    times = "once" if openings == 1 else f"{openings} times"
    baseline = test["majority_baseline"]
    rows = [
        ("accuracy", test["accuracy"]),
        ("balanced accuracy", test["balanced_accuracy"]),
        ("macro F1", test["macro_f1"]),
        ("AUC (macro, one class against the rest)", test["auc"]),
        ("average precision (macro)", test["average_precision"]),
        ("loss", test["loss"]),
        (f"accuracy of always answering {_cell(baseline['class'])}", baseline["accuracy"]),
    ]
    table = ["| on the test images | |", "|---|---|"]
    table += [f"| {name} | {'-' if value is None else f'{value:.4f}'} |" for name, value in rows]
    return (
        f"On {test['images']:,} test images, which had no part in the search or the training and "
        f"were opened {times}.\n\n" + "\n".join(table)
    )


def _files(formats: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the table of files between its marks."""
    lines = [
        _FILES_BEGIN,
        "Each file was opened in its own runtime and compared with the Keras model. Accuracies are "
        "on images that the network was trained on: they compare the files with each other.",
        "",
        "| file | runtime | size | largest difference | same answers | accuracy | 1 image | "
        "32 images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in formats.values():
        cells = [
            f"`{row['file']}`",
            row["runtime"],
            size_words(row["bytes"]),
            f"{row['largest_difference']:.1e}",
            f"{row['agreeing_labels']} of {row['images']}",
            f"{row['accuracy']:.1%}",
            *(f"{milliseconds:.2f} ms" for milliseconds in row["milliseconds"].values()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    processors = sorted(
        {f"{row['processor']}, {row['threads']} threads" for row in formats.values()}
    )
    lines += ["", f"Latency on {'; '.join(processors)}.", _FILES_END]
    return "\n".join(lines)


def size_words(size: int) -> str:
    """Returns a number of bytes as a person reads it: `812 kB`, `3.4 MB`."""
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def _use(run: RunFolder, has_keras: bool) -> str:
    height, width = run.decoding.size
    code = f"""\
```python
import keras

model = keras.saving.load_model("{MODEL}")
probabilities = model.predict(images)  # uint8 RGB, (images, {height}, {width}, 3), values 0 to 255
```

"""
    return (
        f"{code if has_keras else ''}Every file takes uint8 RGB images (images, {height}, {width}, "
        f"3) with values from 0 to 255, in batches of any size: scaling and normalization are "
        f"inside. class_names.json has the classes in the order of the probabilities."
    )


def _limits(run: RunFolder) -> str:
    test = run.metrics["test"]
    weakest = sorted(
        (row for row in test["per_class"] if row["support"]), key=lambda row: row["recall"]
    )[:_WEAKEST_CLASSES]
    recalls = ", ".join(
        f"`{shown(row['name'])}` {row['recall']:.1%} of {row['support']}" for row in weakest
    )
    lines = [
        f"- Every image is given one of the {len(run.class_names)} classes, even if it shows none.",
        "- The test images come from the same source as the training images: on photos from other "
        "cameras, places or times, expect lower accuracy.",
        "- The probabilities are not calibrated.",
        f"- Recognised least often on the test images: {recalls}.",
    ]
    if test["absent_classes"]:
        names = ", ".join(f"`{shown(name)}`" for name in test["absent_classes"])
        lines.append(f"- Never tested, for lack of test images: {names}.")
    lines.append("- To fill in: known failures, and groups or conditions that the images lack.")
    return "\n".join(lines)


def _without_options(note: str) -> str:
    """Returns a note of the run without its sentences about options of the command."""
    kept = ". ".join(part for part in note.split(". ") if "--" not in part)
    return f"{kept.rstrip('.')}." if kept else ""


def _cell(text: str) -> str:
    return shown(text).replace("|", "\\|")
