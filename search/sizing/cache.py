"""Caches worker measurements by machine, versions and candidate."""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cnn_blocks.config import InputSpec
from search.sizing.worker_speed import Measured
from search.system.files import write_text
from search.system.runtime import Compute, cpu_name
from spaces.candidate import Candidate

_FORMAT = 1


class _Kept(BaseModel):
    """The content of a cache file; the key is stored for people who open the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: dict[str, Any]
    found: Measured


def measurement_key(
    candidate: Candidate,
    spec: InputSpec,
    *,
    cores: int,
    gpus: Sequence[str],
    compute: Compute,
) -> dict[str, Any]:
    """Returns everything that a measurement depends on; `gpus` are model names."""
    backend = backend_name()
    return {
        "format": _FORMAT,
        "processor": cpu_name(),
        "cores": cores,
        "gpus": list(gpus),
        "backend": backend,
        "versions": {name: _version(name) for name in ("cnn-search", "keras", backend)},
        **asdict(compute),
        "candidate": candidate.model_dump(mode="json"),
        "image_shape": list(spec.image_shape),
        "classes": spec.classes,
    }


def read_measured(directory: Path, key: Mapping[str, Any]) -> Measured | None:
    """Returns the measurement cached under a key, or None if it is missing or damaged."""
    try:
        kept = _Kept.model_validate_json(_path(directory, key).read_bytes())
    except (OSError, ValueError):
        return None
    return kept.found if kept.found.measurements else None


def write_measured(directory: Path, key: Mapping[str, Any], found: Measured) -> None:
    """Caches a measurement. If the folder cannot be written, the next run measures again."""
    with suppress(OSError):
        text = _Kept(key=dict(key), found=found).model_dump_json(indent=2)
        write_text(_path(directory, key), text + "\n")


def backend_name() -> str:
    """Returns the Keras backend that `start_keras` will use, without importing it."""
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def _path(directory: Path, key: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return directory / f"{digest}.json"


def _version(distribution: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return None
