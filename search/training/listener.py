"""The receiver of a training's events."""

from collections.abc import Mapping

from search.training.result import ValidationReport
from spaces.candidate import Candidate


class Listener:
    """Receives the events of a training. This one ignores them; an exception ends the training."""

    def on_length(self, candidate: Candidate) -> None:
        """A training limited in seconds has been timed; the candidate now has its steps."""

    def on_report(self, report: ValidationReport) -> None:
        """An interval, or a fraction of an epoch, has been trained and validated."""

    def on_progress(self, epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        """Called a few times a second: epochs done, epochs in total, and the running metrics."""

    def on_checkpoint(self, step: int) -> None:
        """The checkpoint after this step was written."""

    def on_warning(self, text: str) -> None:
        """A checkpoint could not be written; the training continues."""
