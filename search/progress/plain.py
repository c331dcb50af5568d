"""Progress as one plain line per event, for logs and pipes."""

import time
from collections.abc import Callable

from rich.console import Console

from search.progress.events import (
    Event,
    Note,
    Progress,
    RetrainingAdvanced,
    RetrainingFinished,
    RetrainingStarted,
    SearchFinished,
    SearchStarted,
    TrialAdvanced,
    TrialFinished,
    TrialStarted,
)
from search.progress.tally import Tally
from search.progress.words import counted, describe_metrics, duration, metric_words, one_line

# Epochs may take a fraction of a second; do not log each of them.
_SECONDS_BETWEEN_EPOCHS = 3.0


class PlainProgress(Progress):
    """Prints one plain line per event.

    Epochs are reported at most every `interval` seconds, so that short trials do not fill the log
    with epoch lines.
    """

    def __init__(
        self,
        console: Console,
        *,
        interval: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._interval = interval
        self._clock = clock
        self._last_line = clock()
        self._retraining_epoch = 0
        self._tally: Tally | None = None

    def handle(self, event: Event) -> None:
        match event:
            case SearchStarted():
                self._search_started(event)
            case TrialStarted():
                if self._tally is not None:
                    self._tally.start(event.number)
                length = _epochs(event.epochs)
                self._line(f"trial {event.number} started{length}: {event.summary}")
            case TrialAdvanced():
                if self._tally is not None:
                    self._tally.advance(event.number, event.epoch)
                if self._clock() - self._last_line >= self._interval:
                    self._line(f"trial {event.number} {_position(event)}")
            case TrialFinished():
                self._trial_finished(event)
            case SearchFinished():
                if self._tally is not None:
                    self._tally.stop(event)
                    standing = f"{self._tally.states()}; best {self._tally.best()}"
                    self._line(f"search finished: {standing}")
            case RetrainingStarted():
                self._retraining_epoch = 0
                images = counted(event.images, "image")
                self._line(f"retraining{_epochs(event.epochs)} on {images}: {event.summary}")
            case RetrainingAdvanced():
                self._retraining_advanced(event)
            case RetrainingFinished():
                self._line(f"retraining finished in {duration(event.seconds)}")
            case Note():
                self._line(f"{'warning: ' if event.is_warning else ''}{one_line(event.text)}")

    def _search_started(self, event: SearchStarted) -> None:
        self._tally = tally = Tally(event, clock=self._clock)
        bounds = [] if event.trials is None else [f"{event.trials} trials"]
        if event.budget_seconds is not None:
            bounds.append(f"at most {duration(event.budget_seconds)}")
        before = f"; resumed: {tally.states()}, best {tally.best()}" if tally.ended else ""
        self._line(
            f"search {event.study_name}: {', '.join(bounds)}, by {metric_words(event.metric)}"
            f"{before}"
        )

    def _trial_finished(self, event: TrialFinished) -> None:
        tally = self._tally
        standing = ""
        if tally is not None:
            tally.finish(event)
            left = tally.remaining
            time_left = "" if left is None else f"; about {duration(left)} left"
            standing = f"; best {tally.best()}; {tally.states()}{time_left}"
        outcome = "" if event.value is None else f" {event.value:z.4f}"
        why = "" if event.reason is None else f" ({one_line(event.reason)})"
        self._line(
            f"trial {event.number} {event.state}{outcome}{why} in {duration(event.seconds)}"
            f"{standing}"
        )

    def _retraining_advanced(self, event: RetrainingAdvanced) -> None:
        whole, waited = int(event.epoch), self._clock() - self._last_line
        is_new = whole > self._retraining_epoch and waited >= _SECONDS_BETWEEN_EPOCHS
        if is_new or event.epoch >= event.epochs or waited >= self._interval:
            self._retraining_epoch = whole
            self._line(f"retraining {_position(event)}")

    def _line(self, text: str) -> None:
        self._last_line = self._clock()
        # No markup or highlighting, because a reason may contain brackets. No wrapping in a log.
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _epochs(epochs: float) -> str:
    """Returns the length of a training in words; "" if it is unknown."""
    return f", {epochs:.4g} epoch{'' if epochs == 1 else 's'}" if epochs else ""


def _position(event: TrialAdvanced | RetrainingAdvanced) -> str:
    """Returns the finished epochs and their metrics in words."""
    return f"epoch {round(event.epoch, 2):g}/{event.epochs:.4g}: {describe_metrics(event.metrics)}"
