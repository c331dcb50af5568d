"""A worker's job for tests that train nothing."""

from pathlib import Path
from typing import Any

from search.engines.job import WorkerJob


def make_job(**changes: Any) -> WorkerJob:
    """Returns a job of the study "tiny"; its storage, images and pickled study do not exist."""
    given: dict[str, Any] = {
        "study_name": "tiny",
        "storage": "sqlite://",
        "spec": b"",
        "source": None,
        "data": "digits",
        "data_fingerprint": "",
        "image_size": None,
        "max_bad_files": 0,
        "metric": "accuracy",
        "seed": 0,
        "trials": 100,
        "checkpoints": Path("checkpoints"),
    }
    return WorkerJob(**{**given, **changes})
