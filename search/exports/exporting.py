"""Exports a run: writes each format, compares it with Keras, and keeps only files that agree."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.data.source import DataSource
from search.exports.formats import Format, Predict, TrainedModel
from search.exports.gate import BATCH, Comparison, compare, latency, predict_all
from search.exports.images import RealImages, real_images
from search.exports.model_card import CARD, write_model_card
from search.exports.run_folder import RunFolder, read_run_folder
from search.results.exported_model import load_model
from search.results.files import write_json
from search.sizing.machine import available_cores
from search.system.files import discard_folder
from search.system.runtime import cpu_name, start_keras, startup_chatter_held

RECORD = "exports.json"
CLASS_NAMES = "class_names.json"
DECODING = "decoding.json"
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Export:
    """The result of one format.

    `reason` says why the file was not written; it is None if the file was written. Then `size` is
    the size of the file or folder in bytes, and `milliseconds` holds the median latency of one
    image and of a batch of 32. `comparison` is None if the file gave no outputs.
    """

    format: Format
    comparison: Comparison | None = None
    reason: str | None = None
    size: int = 0
    milliseconds: tuple[float, float] = (0.0, 0.0)

    def as_data(self) -> dict[str, Any]:
        """Returns the figures as plain values for JSON, sizes in bytes."""
        data: dict[str, Any] = {
            "file": self.format.file,
            "runtime": self.format.runtime_version,
        }
        if self.comparison is not None:
            data |= asdict(self.comparison)
        if self.reason is not None:
            return {"reason": self.reason, **data}
        one, batch = self.milliseconds
        return data | {
            "bytes": self.size,
            "milliseconds": {"1": one, str(BATCH): batch},
            "processor": cpu_name(),
            "threads": available_cores(),
        }


@dataclass(frozen=True)
class ExportResult:
    """The results of all formats, their folder, and a description of the compared images.

    `files` are the folder's exports, including those of earlier calls, and the files that describe
    them. It is empty if nothing was written.
    """

    directory: Path
    exports: tuple[Export, ...]
    files: tuple[str, ...]
    compared_on: str


def export_run(
    run: str | Path,
    formats: Sequence[Format],
    *,
    data: DataSource | None = None,
    output: str | Path | None = None,
    on_images: Callable[[str], None] = lambda described: None,
    on_export: Callable[[Export], None] = lambda export: None,
) -> ExportResult:
    """Writes a finished run's model in several formats, and keeps those that agree with Keras.

    Files go to the run's folder, or to `output`, with exports.json, class_names.json,
    decoding.json and a model card. `data` replaces the run's own images. `on_images` receives a
    description of the images, `on_export` each result as soon as it is known.
    Raises UserError if `run` is not a finished run, its images are not available, or `output`
    holds exports of another model.
    """
    folder = read_run_folder(run)
    directory = folder.path if output is None else user_path(output)
    _make_writable(directory)
    record = _Record(directory, folder)
    images = real_images(folder, data or DataSource())
    on_images(images.described)
    start_keras()
    import keras

    exports = []
    # A GPU may compute float32 with fewer bits.
    with keras.device("cpu:0"):
        model = TrainedModel(
            path=folder.model,
            network=load_model(folder.model),
            class_names=folder.class_names,
            decoding=folder.decoding,
            calibration=images.calibration,
        )
        reference = predict_all(model.network.predict_on_batch, images.images)
        for one in formats:
            export = _export(one, model, images, reference, directory)
            exports.append(export)
            record.add(export, images.described)
            on_export(export)
    files: tuple[str, ...] = ()
    if any(export.reason is None for export in exports):
        write_json(directory / CLASS_NAMES, folder.class_names)
        write_json(directory / DECODING, folder.decoding.model_dump(mode="json"))
        write_model_card(directory, folder, record.formats)
        roots = [Path(row["file"]).parts[0] for row in record.formats.values()]
        files = (*roots, CLASS_NAMES, DECODING, RECORD, CARD)
    return ExportResult(directory, tuple(exports), files, images.described)


def _make_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise UserError(
            f"Exports need a writable folder; {directory}: {error.strerror}. Fix: "
            f"choose another --output."
        ) from error


def _export(
    one: Format,
    model: TrainedModel,
    images: RealImages,
    reference: npt.NDArray[np.float32],
    directory: Path,
) -> Export:
    """Writes one format to a temporary folder, and moves it to its place if it agrees."""
    with tempfile.TemporaryDirectory(prefix=".export-", dir=directory) as temporary:
        staged = Path(temporary) / one.file
        staged.parent.mkdir(exist_ok=True)
        try:
            with startup_chatter_held(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # converters' warnings do not help the user
                one.write(model, staged)
                comparison, milliseconds = _measure(one.load(staged), images, reference)
        except Exception as error:  # converters and runtimes raise almost any exception
            return Export(one, reason=_first_line(error))
        objection = comparison.objection(is_exact=one.is_exact)
        if objection is not None:
            return Export(one, comparison, reason=objection)
        root = Path(temporary) / one.root
        size = _size(root)
        _move(root, directory / one.root)
    return Export(one, comparison, size=size, milliseconds=milliseconds)


def _measure(
    predict: Predict, images: RealImages, reference: npt.NDArray[np.float32]
) -> tuple[Comparison, tuple[float, float]]:
    comparison = compare(predict_all(predict, images.images), reference, images.labels)
    batch = np.resize(images.images, (BATCH, *images.images.shape[1:]))
    return comparison, (latency(predict, batch[:1]), latency(predict, batch))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:_LONGEST_REASON]


def _size(root: Path) -> int:
    files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _move(root: Path, target: Path) -> None:
    if target.is_dir():
        discard_folder(target)
    root.replace(target)


class _Record:
    """exports.json: the figures of the files in a folder, and of refused files."""

    def __init__(self, directory: Path, run: RunFolder) -> None:
        self._path = directory / RECORD
        self._sha256 = run.model_sha256
        self.formats: dict[str, dict[str, Any]] = {}
        self._refused: dict[str, dict[str, Any]] = {}
        if not self._path.exists():
            return
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            sha256, formats, refused = (
                stored[name] for name in ("model_sha256", "formats", "refused")
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._path} must be a file from an earlier export; {error}. Fix: delete it, or "
                f"choose another --output."
            ) from error
        if sha256 != self._sha256:
            raise UserError(
                f"A folder holds the exports of one model; {directory} has those of another. Fix: "
                f"choose another --output, or delete {self._path.name} there."
            )
        # Drop the figures of files that were deleted since.
        self.formats = {
            name: row for name, row in formats.items() if (directory / row["file"]).exists()
        }
        self._refused = refused

    def add(self, export: Export, images: str) -> None:
        """Writes one result; if a format is refused now, its earlier file keeps its figures."""
        name = export.format.name
        row = {**export.as_data(), "compared_on": images}
        self._refused.pop(name, None)
        if export.reason is None:
            self.formats[name] = row
        else:
            self._refused[name] = row
        content = {
            "format_version": 1,
            "model_sha256": self._sha256,
            "formats": self.formats,
            "refused": self._refused,
        }
        write_json(self._path, content)
