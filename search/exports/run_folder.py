"""Reads the parts of a finished run's folder that exports and evaluations need."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path

if TYPE_CHECKING:
    from search.data import Dataset, Decoding, Split

MODEL = "model.keras"
METRICS = "metrics.json"
_TEST_PREDICTIONS = "test_predictions.csv"


@dataclass(frozen=True)
class RunFolder:
    """A finished run: its model, the model's classes and decoding, and the data it came from."""

    path: Path
    class_names: tuple[str, ...]
    decoding: Decoding
    environment: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def model(self) -> Path:
        """The run's .keras file."""
        return self.path / MODEL

    @property
    def model_sha256(self) -> str:
        """The SHA-256 of the run's .keras file."""
        with self.model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def test_files(self) -> frozenset[str]:
        """The files of the run's test images, as test_predictions.csv names them."""
        path = self.path / _TEST_PREDICTIONS
        if not path.is_file():
            return frozenset()
        with path.open(encoding="utf-8", newline="") as file:
            return frozenset(row["file"] for row in csv.DictReader(file) if "file" in row)

    def split_of(self, dataset: Dataset) -> Split | None:
        """Returns the run's own split of a data set; None if it is not the run's data."""
        from search.data import split_data

        data, recorded = self.environment["data"], self.environment["split"]
        if dataset.fingerprint != data["fingerprint"]:
            return None
        fractions = recorded["fractions"]
        split = split_data(
            dataset,
            seed=recorded["seed"],
            **{f"{role}_fraction": fraction for role, fraction in fractions.items()},
        )
        return split if split.sha256 == recorded["sha256"] else None


def read_run_folder(path: str | Path) -> RunFolder:
    """Reads the folder of a finished run.

    Raises UserError if it is not one, or if its model does not say how images are decoded.
    """
    from search.results.exported_model import read_record
    from search.results.finished_run import read_environment, read_metrics

    path = user_path(path)
    metrics, environment = read_metrics(path), read_environment(path)
    record = read_record(path / MODEL)
    if record.class_names is None or record.decoding is None:
        raise UserError(
            f"A model must say what its classes are and how images are decoded; {path / MODEL} "
            f"was written by an older version, which did not. Fix: train it again with `retrain`."
        )
    return RunFolder(path, record.class_names, record.decoding, environment, metrics)


def with_classes(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """Returns a data set with labels in the order of a model's outputs.

    Raises UserError if the classes differ.
    """
    import numpy as np

    from search.data.names import enumerate_names

    if dataset.class_names == class_names:
        return dataset
    missing = [name for name in class_names if name not in dataset.class_names]
    unknown = [name for name in dataset.class_names if name not in class_names]
    if missing or unknown:
        parts = [
            f"{words} {enumerate_names(names)}"
            for words, names in (("lacks", missing), ("also has", unknown))
            if names
        ]
        raise UserError(
            f"The images must have the model's {len(class_names)} classes; {dataset.source} "
            f"{' and '.join(parts)}. Fix: name images with the same classes and spelling."
        )
    numbers = np.array([class_names.index(name) for name in dataset.class_names])
    arrays = dataset.arrays
    test_labels = None if arrays.test_labels is None else numbers[arrays.test_labels]
    labels = numbers[arrays.development_labels]
    arrays = replace(arrays, development_labels=labels, test_labels=test_labels)
    return replace(dataset, class_names=class_names, arrays=arrays)
