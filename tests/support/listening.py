"""A training listener made of functions."""

from collections.abc import Callable, Mapping
from typing import Any

from search.training.listener import Listener
from search.training.result import ValidationReport
from spaces.candidate import Candidate


def _nothing(*heard: Any) -> None:
    pass


class Listening(Listener):
    """Calls a function for each kind of event."""

    def __init__(
        self,
        *,
        on_length: Callable[[Candidate], object] = _nothing,
        on_report: Callable[[ValidationReport], object] = _nothing,
        on_progress: Callable[[float, float, Mapping[str, float]], object] = _nothing,
        on_checkpoint: Callable[[int], object] = _nothing,
        on_warning: Callable[[str], object] = _nothing,
    ) -> None:
        self._on_length, self._on_report = on_length, on_report
        self._on_progress, self._on_warning = on_progress, on_warning
        self._on_checkpoint = on_checkpoint

    def on_length(self, candidate: Candidate) -> None:
        self._on_length(candidate)

    def on_report(self, report: ValidationReport) -> None:
        self._on_report(report)

    def on_progress(self, epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        self._on_progress(epoch, epochs, metrics)

    def on_checkpoint(self, step: int) -> None:
        self._on_checkpoint(step)

    def on_warning(self, text: str) -> None:
        self._on_warning(text)
