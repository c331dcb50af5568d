"""Retraining checks the exported model against the trained one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from search.progress.clock import Clock
from search.progress.events import Event, Note, Progress
from search.results import retraining


class _OpenedError(Exception):
    """The final evaluation reached the test images."""


class _Notes(Progress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def handle(self, event: Event) -> None:
        if isinstance(event, Note) and event.is_warning:
            self.warnings.append(event.text)


def _open(*given: Any) -> None:
    raise _OpenedError


@pytest.mark.parametrize(("shipped", "warns"), [(0.98, False), (0.91, False), (0.5, True)])
def test_a_model_that_does_not_compute_what_was_trained_is_told(
    shipped: float, warns: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.system.runtime.start_keras", lambda: None)
    monkeypatch.setattr(
        retraining, "retrain", lambda *given: SimpleNamespace(best={"accuracy": 0.95})
    )
    monkeypatch.setattr(retraining, "_training_accuracy", lambda *given: shipped)
    progress = _Notes()
    given = SimpleNamespace(
        split=SimpleNamespace(open_test=_open), clock=Clock(), progress=progress
    )

    with pytest.raises(_OpenedError):
        retraining.finish_run(cast(Any, given), tmp_path)

    assert bool(progress.warnings) is warns
    if warns:
        assert "classifies 50.0% of its own training images" in progress.warnings[0]
