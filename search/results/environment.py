"""The environment of a result: versions, machine, seeds, data, code and command."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from search.system.names import without_passwords

if TYPE_CHECKING:
    from search.data import Split
    from search.system.runtime import Compute

_DISTRIBUTIONS = (
    "cnn-search",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "optuna",
    "numpy",
    "scikit-learn",
    "pydantic",
    "pillow",
    "matplotlib",
    "sqlalchemy",
)


def environment_record(split: "Split", *, seed: int, compute: "Compute") -> dict[str, Any]:
    """Returns everything needed to repeat a result or to explain why it differs."""
    import keras

    from search.system.runtime import (
        ONEDNN_VARIABLE,
        cpu_name,
        device_kind,
        dtype_policy,
        jit_compile,
    )

    return {
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "versions": _versions(),
        "operating_system": platform.platform(),
        "processor": cpu_name(),
        "processor_cores": psutil.cpu_count(logical=False),
        "processor_threads": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": device_kind(),
        "devices": keras.distribution.list_devices(),
        "dtype_policy": dtype_policy(compute.precision),
        "xla": jit_compile(compute.xla),
        "onednn": os.environ.get(ONEDNN_VARIABLE),
        "seed": seed,
        "data": {
            "name": split.dataset.name,
            "source": split.dataset.source,
            "layout": split.dataset.layout,
            "fingerprint": split.dataset.fingerprint,
            "image_shape": list(split.dataset.image_shape),
            "decoding": split.dataset.decoding.model_dump(mode="json"),
            "notes": list(split.dataset.notes),
        },
        "split": {"seed": split.seed, "fractions": dict(split.fractions), "sha256": split.sha256},
        "git": _git(Path.cwd()),
        "command": without_passwords(shlex.join(sys.orig_argv)),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git(directory: Path) -> dict[str, Any] | None:
    """Returns the commit of the repository that contains a directory; None outside of one."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None
