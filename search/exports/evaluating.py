"""Evaluates an exported model on any images with the same classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.data.source import DataSource
from search.exports.choice import FORMATS, format_of, require_packages
from search.exports.exporting import CLASS_NAMES, DECODING
from search.exports.formats import Format, Predict
from search.exports.gate import predict_all
from search.exports.images import open_images
from search.exports.keras_file import KERAS
from search.exports.run_folder import METRICS, RunFolder, read_run_folder
from search.results.evaluate import Evaluation, score
from search.results.exported_model import read_record
from search.results.files import write_evaluation, write_json
from search.system.files import whole_folder
from search.system.runtime import start_keras, startup_chatter_held

if TYPE_CHECKING:
    from search.data import Dataset, Decoding, Subset

# The number of images decoded into memory at a time.
_CHUNK = 4096


@dataclass(frozen=True)
class EvaluationOutput:
    """An evaluation, the folder of its files, a description of its images, and its metrics.json."""

    directory: Path
    evaluation: Evaluation
    images: str
    record: dict[str, Any]


@dataclass(frozen=True)
class _ModelFile:
    """A file to evaluate: its format, its export folder, its classes and its decoding."""

    path: Path
    format: Format
    folder: Path
    class_names: tuple[str, ...]
    decoding: Decoding


def evaluate_file(
    model: str | Path, data: DataSource, *, output: str | Path | None = None
) -> EvaluationOutput:
    """Evaluates a run's model.keras, or a file that `export` wrote, on labelled images.

    Data with its own test images is evaluated on them, other data on all images. Data of the
    model's own run is evaluated on the run's test images, and the opening is recorded in the run's
    metrics.json. Tables and pictures go to `output`, a new or empty folder, or to a new folder in
    `evaluations` next to the model.
    Raises UserError if the classes differ, or the model cannot be opened.
    """
    file = _read_model_file(user_path(model))
    directory = _new_folder(file.folder) if output is None else _free_folder(user_path(output))
    dataset = open_images(data, file.class_names, file.decoding)
    start_keras()
    with startup_chatter_held():
        predict = _loaded(file)
        subset, described = _evaluated(_run_of(file), dataset, file.path)
        probabilities = _predict(predict, subset)
    evaluation = score(probabilities, subset.labels[subset.indices], file.class_names)
    record = {
        "format_version": 1,
        "model": str(file.path),
        "runtime": file.format.runtime_version,
        "data": {
            "name": dataset.name,
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "images": described,
        },
        "test": evaluation.metrics(),
    }
    directory.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(directory) as temporary:
        write_evaluation(temporary, evaluation, subset)
        write_json(temporary / METRICS, record)
    return EvaluationOutput(directory, evaluation, described, record)


def _read_model_file(path: Path) -> _ModelFile:
    if not path.exists():
        raise UserError(
            f"--model takes a file that exists; there is no {path}. Fix: name the model.keras of "
            f"a run, or a file that `export` wrote."
        )
    name = format_of(path)
    if name is None:
        raise UserError(
            f"--model takes a .keras, .onnx or .tflite file, OpenVINO's .xml file or a SavedModel "
            f"folder; received {path}. Fix: name the model.keras of a run, or a file that `export` "
            f"wrote."
        )
    one = FORMATS[name][0]
    require_packages({name: one.modules})
    if path.is_dir():
        path = path / Path(one.file).name
    folder = path.parents[len(Path(one.file).parts) - 1]
    if one is KERAS:
        record = read_record(path)
        names, decoding = record.class_names, record.decoding
    else:
        names, decoding = _read_beside(folder)
    if names is None or decoding is None:
        raise UserError(
            f"A model must say what its classes are and how images are decoded; {path} does not, "
            f"nor do {CLASS_NAMES} and {DECODING} in {folder}. Fix: keep the files of an export "
            f"together."
        )
    return _ModelFile(path, one, folder, names, decoding)


def _read_beside(folder: Path) -> tuple[tuple[str, ...] | None, Decoding | None]:
    from search.data import Decoding

    try:
        names = json.loads((folder / CLASS_NAMES).read_text(encoding="utf-8"))
        decoding = Decoding.model_validate_json((folder / DECODING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, None
    return tuple(names), decoding


def _free_folder(directory: Path) -> Path:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(
            f"--output takes a new or empty folder, so that nothing is overwritten; {directory} is "
            f"in use. Fix: choose another one."
        )
    return directory


def _new_folder(beside: Path) -> Path:
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    folders = (beside / "evaluations" / name for name in names)
    return next(folder for folder in folders if not folder.exists())


def _run_of(file: _ModelFile) -> RunFolder | None:
    """Returns the run whose folder contains a model; None if the model is elsewhere."""
    try:
        return read_run_folder(file.folder)
    except UserError:
        return None


def _evaluated(run: RunFolder | None, dataset: Dataset, model: Path) -> tuple[Subset, str]:
    """Returns the images to evaluate on and their description; records an opening of the test."""
    from search.data import undivided

    split = None if run is None else run.split_of(dataset)
    if run is not None and split is not None:
        metrics = run.path / METRICS
        subset = split.open_test(
            f"evaluation of {model.name}", lambda opening: _record_opening(metrics, opening)
        )
        return subset, f"the {len(subset):,} test images of the run"
    everything, test = undivided(dataset)
    if test is not None:
        return test, f"the {len(test):,} test images of {dataset.name}"
    return everything, f"all {len(everything):,} images of {dataset.name}"


def _record_opening(path: Path, opening: dict[str, Any]) -> None:
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["test_openings"] = [*metrics.get("test_openings", []), opening]
    write_json(path, metrics)


def _loaded(file: _ModelFile) -> Predict:
    try:
        return file.format.load(file.path)
    except UserError:
        raise
    except Exception as error:  # runtimes raise almost any exception on unreadable files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"A model must be a file that its runtime opens; {file.path}: {reason} Fix: export it "
            f"again."
        ) from error


def _predict(predict: Predict, subset: Subset) -> npt.NDArray[np.float32]:
    starts = range(0, len(subset), _CHUNK)
    return np.concatenate(
        [predict_all(predict, subset.gather(slice(start, start + _CHUNK))[0]) for start in starts]
    )
