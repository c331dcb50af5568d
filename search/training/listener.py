"""Who is told how a training goes."""

from collections.abc import Mapping

from search.training.result import Report
from spaces.candidate import Candidate


class Listener:
    """Is told how a training goes; this one lets it go. Whatever a method raises ends it."""

    def on_length(self, candidate: Candidate) -> None:
        """A training that was given seconds has been timed: the candidate has its steps."""

    def on_report(self, report: Report) -> None:
        """An interval, or a part of an epoch, has been trained and validated."""

    def on_progress(self, epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        """A few times a second: passes over the images done, in all, and the running metrics."""

    def on_checkpoint(self, step: int) -> None:
        """A checkpoint of so many steps was written."""

    def on_warning(self, text: str) -> None:
        """No checkpoint could be written, which does not end the training."""
