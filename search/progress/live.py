"""A search on a terminal: counts, best value, time left and the current training, kept in place."""

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

from search.progress.plain import (
    Progress,
    Tally,
    TrialState,
    counted,
    describe_metrics,
    duration,
    metric_words,
    one_line,
)

_BAR_WIDTH = 72


@dataclass
class _Training:
    """One training that is shown: a trial's or the winner's."""

    title: str
    summary: str
    epochs: float
    epoch: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: float = 0.0
    seconds: float | None = None


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
        self._console.print()  # what is printed next stands apart

    def restore_terminal(self) -> None:
        # Not `Live.stop()`: the interrupted code may hold its lock.
        self._console.file.write("\x1b[?25h\n")
        self._console.file.flush()

    def search_started(
        self,
        *,
        study_name: str,
        trials: int | None,
        finished: int,
        pruned: int,
        failed: int,
        best_value: float | None,
        metric: str,
        budget_seconds: float | None,
        infeasible: int = 0,
        best_trial: int | None = None,
    ) -> None:
        self._study_name = study_name
        self._tally = Tally(
            metric=metric,
            trials=trials,
            budget_seconds=budget_seconds,
            counts={
                "complete": finished,
                "pruned": pruned,
                "infeasible": infeasible,
                "failed": failed,
            },
            best_value=best_value,
            best_trial=best_trial,
            clock=self._clock,
        )

    def trial_started(self, *, number: int, summary: str, epochs: float) -> None:
        if self._tally is not None:
            self._tally.start(number)
        # A new dictionary each time: the drawing thread may be walking the old one.
        training = _Training(f"trial {number}", summary, epochs, started=self._clock())
        self._trials = {**self._trials, number: training}

    def trial_progress(
        self, *, number: int, epoch: float, epochs: float, metrics: Mapping[str, float]
    ) -> None:
        if self._tally is not None:
            self._tally.advance(number, epoch)
        if number in self._trials:
            _advance(self._trials[number], epoch, epochs, metrics)

    def trial_finished(
        self,
        *,
        number: int,
        state: TrialState,
        value: float | None,
        reason: str | None,
        seconds: float,
        best_value: float | None,
    ) -> None:
        if self._tally is not None:
            self._tally.finish(number, state, best_value)
        self._trials = {key: value for key, value in self._trials.items() if key != number}
        if state in ("failed", "crashed") and reason is not None:
            self.warning(f"trial {number} {state}: {reason}")

    def search_finished(self) -> None:
        self._trials = {}
        if self._tally is not None:
            self._tally.stop()

    def retraining_started(self, *, epochs: float, images: int, summary: str) -> None:
        self._retraining = _Training(
            "retrain", f"{counted(images, 'image')}: {summary}", epochs, started=self._clock()
        )

    def retraining_progress(
        self, *, epoch: float, epochs: float, metrics: Mapping[str, float]
    ) -> None:
        if self._retraining is not None:
            _advance(self._retraining, epoch, epochs, metrics)

    def retraining_finished(self, *, seconds: float) -> None:
        if self._retraining is not None:
            self._retraining.epoch = self._retraining.epochs
            self._retraining.seconds = seconds

    def note(self, text: str) -> None:
        self._console.print(Text(one_line(text), style="dim"))

    def warning(self, text: str) -> None:
        self._console.print(Text(f"warning: {one_line(text)}", style="yellow"))

    def render(self) -> RenderableType:
        """Returns what the lines look like now."""
        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(ratio=1)
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


def _advance(
    training: _Training, epoch: float, epochs: float, metrics: Mapping[str, float]
) -> None:
    training.epoch, training.epochs = epoch, epochs
    training.metrics = {**training.metrics, **metrics}


def _share_of_search(tally: Tally) -> tuple[float, float]:
    if tally.trials is not None:
        return tally.ended, tally.trials
    return tally.elapsed, tally.budget_seconds or tally.elapsed or 1.0


def _bar(completed: float, total: float) -> ProgressBar:
    return ProgressBar(total=max(total, 1e-9), completed=min(completed, total), width=_BAR_WIDTH)


def _times(elapsed: float, left: float | None) -> str:
    return duration(elapsed) + ("" if left is None else f", about {duration(left)} left")
