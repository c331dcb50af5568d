"""A worker's job for tests that train nothing, and studies whose second candidate misbehaves."""

from pathlib import Path
from typing import Any

from search.data import DataSource
from search.engines.job import WorkerJob

_ONCE = """def space(trial):
    import pathlib, time
    flag = pathlib.Path(__file__).with_name("happened")
    if getattr(trial, "number", 0) == 1 and not flag.exists():
        flag.touch()
        {what}
"""


def with_mishap(study: str, what: str) -> str:
    """Returns a study's text where trial 1 does something before it draws its candidate, once."""
    return study.replace("def space(trial):\n", _ONCE.format(what=what))


def make_job(**changes: Any) -> WorkerJob:
    """Returns a job of the study "tiny"; its storage, images and pickled study do not exist."""
    given: dict[str, Any] = {
        "study_name": "tiny",
        "storage": "sqlite://",
        "spec": b"",
        "source": None,
        "data": DataSource(location="digits"),
        "data_fingerprint": "",
        "metric": "accuracy",
        "seed": 0,
        "trials": 100,
        "checkpoints": Path("checkpoints"),
    }
    return WorkerJob(**{**given, **changes})
