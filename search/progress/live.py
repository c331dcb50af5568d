"""Live display of a search on a terminal: counts, best value, time left, current trainings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

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

_BAR_WIDTH = 72


@dataclass
class _Training:
    """One displayed training: a trial's or the winner's."""

    title: str
    summary: str
    epochs: float
    epoch: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: float = 0.0
    seconds: float | None = None

    def advance(self, event: TrialAdvanced | RetrainingAdvanced) -> None:
        """Records the progress."""
        self.epoch, self.epochs = event.epoch, event.epochs
        self.metrics = {**self.metrics, **event.metrics}


class LiveProgress(Progress):
    """Redraws a few lines in place; notes and warnings scroll above them."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._study_name = ""
        self._tally: Tally | None = None
        self._trials: dict[int, _Training] = {}
        self._retraining: _Training | None = None
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=4, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        self._console.print()  # separates later output

    def restore_terminal(self) -> None:
        # Not `Live.stop()`: the interrupted code may hold its lock.
        self._console.file.write("\x1b[?25h\n")
        self._console.file.flush()

    def handle(self, event: Event) -> None:
        match event:
            case SearchStarted():
                self._study_name = event.study_name
                self._tally = Tally(event, clock=self._clock)
            case TrialStarted():
                if self._tally is not None:
                    self._tally.start(event.number)
                title = f"trial {event.number}"
                training = _Training(title, event.summary, event.epochs, started=self._clock())
                # A new dictionary each time: the drawing thread may be iterating over the old one.
                self._trials = {**self._trials, event.number: training}
            case TrialAdvanced():
                if self._tally is not None:
                    self._tally.advance(event.number, event.epoch)
                if event.number in self._trials:
                    self._trials[event.number].advance(event)
            case TrialFinished():
                self._trial_finished(event)
            case SearchFinished():
                self._trials = {}
                if self._tally is not None:
                    self._tally.stop(event)
            case RetrainingStarted():
                summary = f"{counted(event.images, 'image')}: {event.summary}"
                self._retraining = _Training(
                    "retrain", summary, event.epochs, started=self._clock()
                )
            case RetrainingAdvanced():
                if self._retraining is not None:
                    self._retraining.advance(event)
            case RetrainingFinished():
                if self._retraining is not None:
                    self._retraining.epoch = self._retraining.epochs
                    self._retraining.seconds = event.seconds
            case Note(text, is_warning=True):
                self._console.print(Text(f"warning: {one_line(text)}", style="yellow"))
            case Note(text):
                self._console.print(Text(one_line(text), style="dim"))

    def _trial_finished(self, event: TrialFinished) -> None:
        if self._tally is not None:
            self._tally.finish(event)
        self._trials = {key: value for key, value in self._trials.items() if key != event.number}
        if event.state in ("failed", "crashed") and event.reason is not None:
            self.warning(f"trial {event.number} {event.state}: {event.reason}")

    def render(self) -> RenderableType:
        """Returns the current display."""
        table = Table.grid(padding=(0, 1))
        # The default overflow uses an ellipsis, which some consoles cannot encode.
        table.add_column(style="dim", no_wrap=True, overflow="crop")
        table.add_column(ratio=1, overflow="fold")
        tally = self._tally
        if tally is not None:
            target = "" if tally.trials is None else f" of {tally.trials}"
            table.add_row(
                "study", Text(f"{self._study_name}, by {metric_words(tally.metric)}", style="bold")
            )
            table.add_row("trials", _bar(*_share_of_search(tally)))
            table.add_row("", f"{tally.ended}{target}: {tally.states()}")
            table.add_row("epochs", f"{tally.epochs:,}")
            table.add_row("best", Text(tally.best(), style="bold green"))
            table.add_row("time", _times(tally.elapsed, tally.remaining))
        for training in self._trials.values():
            self._add_training(table, training)
        if self._retraining is not None:
            self._add_training(table, self._retraining)
        return table

    def _add_training(self, table: Table, training: _Training) -> None:
        table.add_row("", "")
        table.add_row(training.title, Text(training.summary))
        table.add_row("", _bar(training.epoch, training.epochs))
        state = f"epoch {training.epoch:.1f} of {training.epochs:.4g}"
        if not training.epochs:
            state = "starting"
        metrics = f": {describe_metrics(training.metrics)}" if training.metrics else ""
        table.add_row("", state + metrics)
        if training is self._retraining:
            elapsed = training.seconds or self._clock() - training.started
            left = None
            if training.seconds is None and training.epoch > 0:
                left = elapsed / training.epoch * (training.epochs - training.epoch)
            table.add_row("", _times(elapsed, left))


def _share_of_search(tally: Tally) -> tuple[float, float]:
    if tally.trials is not None:
        return tally.ended, tally.trials
    return tally.elapsed, tally.budget_seconds or tally.elapsed or 1.0


def _bar(completed: float, total: float) -> ProgressBar:
    return ProgressBar(total=max(total, 1e-9), completed=min(completed, total), width=_BAR_WIDTH)


def _times(elapsed: float, left: float | None) -> str:
    return duration(elapsed) + ("" if left is None else f", about {duration(left)} left")
