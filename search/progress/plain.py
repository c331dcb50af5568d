"""What a person sees while a search runs: live on a terminal, a plain line per event elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal, Self

from rich.console import Console

TrialState = Literal["complete", "pruned", "infeasible", "failed", "interrupted", "crashed"]

# In the order in which they are shown. One that was interrupted, or crashed, is continued.
STATES: tuple[tuple[TrialState, str], ...] = (
    ("complete", "done"),
    ("pruned", "pruned"),
    ("infeasible", "infeasible"),
    ("failed", "failed"),
)


# Epochs may take a fraction of a second: a log needs no line for each.
_SECONDS_BETWEEN_EPOCHS = 3.0


class Progress:
    """Receives every event of a search and shows nothing; the library's default.

    Usable as a context manager; leaving it restores the terminal. Durations are in seconds,
    `epoch` counts finished epochs and may be a fraction.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def restore_terminal(self) -> None:
        """Shows the cursor again; for a signal handler that is about to end the process."""

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
        """A search begins or resumes.

        `finished` counts the completed trials that the study already holds, beside the `pruned`,
        `infeasible` and `failed` ones; `trials` is the total to reach, None where only time ends.
        """

    def trial_started(self, *, number: int, summary: str, epochs: float) -> None:
        """A trial begins; `summary` is its candidate in one line."""

    def trial_progress(
        self, *, number: int, epoch: float, epochs: float, metrics: Mapping[str, float]
    ) -> None:
        """A running trial got further."""

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
        """A trial ended; `reason` says why where it did not complete."""

    def search_finished(self) -> None:
        """No further trial will start."""

    def retraining_started(self, *, epochs: float, images: int, summary: str) -> None:
        """The winner's training on all training and validation images begins."""

    def retraining_progress(
        self, *, epoch: float, epochs: float, metrics: Mapping[str, float]
    ) -> None:
        """The retraining got further."""

    def retraining_finished(self, *, seconds: float) -> None:
        """The retraining ended."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warning(self, text: str) -> None:
        """Something worth a look."""


class Tally:
    """Counts a search's trials and epochs, and estimates the time that is left."""

    def __init__(
        self,
        *,
        metric: str,
        trials: int | None,
        budget_seconds: float | None,
        counts: Mapping[TrialState, int],
        best_value: float | None,
        best_trial: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metric = metric
        self.trials = trials
        self.budget_seconds = budget_seconds
        self.counts = Counter(dict(counts))
        self.best_value = best_value
        self.best_trial = best_trial
        self.running: dict[int, float] = {}
        self._clock = clock
        self._started = clock()
        self._stopped: float | None = None
        self._finished_epochs = 0.0
        self._finished_here = 0

    def start(self, number: int) -> None:
        """Counts a trial as running."""
        self.running[number] = 0.0

    def advance(self, number: int, epoch: float) -> None:
        """Notes how many epochs a running trial has finished."""
        self.running[number] = epoch

    def finish(self, number: int, state: TrialState, best_value: float | None) -> None:
        """Counts a trial as ended; a changed best value makes it the best trial."""
        self._finished_epochs += self.running.pop(number, 0.0)
        if state in ("interrupted", "crashed"):
            return
        self.counts[state] += 1
        self._finished_here += 1
        if best_value is not None and best_value != self.best_value:
            self.best_value, self.best_trial = best_value, number

    def stop(self) -> None:
        """Stops the clock: no further trial will start."""
        if self._stopped is None:
            self._stopped = self._clock()

    @property
    def ended(self) -> int:
        """The number of trials that count towards the total."""
        return sum(self.counts.values())

    @property
    def epochs(self) -> int:
        """The whole epochs trained by this process."""
        return int(self._finished_epochs + sum(self.running.values()))

    @property
    def elapsed(self) -> float:
        """Seconds since this process began to search."""
        return (self._clock() if self._stopped is None else self._stopped) - self._started

    @property
    def remaining(self) -> float | None:
        """Seconds left, by the mean trial so far and the budget; None when unknown or over."""
        if self._stopped is not None:
            return None
        bounds = []
        if self.budget_seconds is not None:
            bounds.append(max(0.0, self.budget_seconds - self.elapsed))
        if self.trials is not None and self._finished_here:
            share = self.elapsed / self._finished_here
            bounds.append(share * max(0, self.trials - self.ended))
        return min(bounds, default=None) or None

    def states(self) -> str:
        """Returns the counts in words, as in `9 done, 2 pruned, 1 running`."""
        named = [(self.counts[state], word) for state, word in STATES]
        # Done, pruned, failed and running always stand there; infeasible only where it happened.
        shown = [f"{count} {word}" for count, word in named if count or word != "infeasible"]
        if self._stopped is None:
            shown.append(f"{len(self.running)} running")
        return ", ".join(shown)

    def best(self) -> str:
        """Returns the best value with its trial, in words."""
        if self.best_value is None:
            return "none yet"
        where = "" if self.best_trial is None else f" (trial {self.best_trial})"
        return f"{metric_words(self.metric)} {self.best_value:.4f}{where}"


class PlainProgress(Progress):
    """Prints one plain line per event.

    A trial's epochs are reported at most every `interval` seconds, so that a log of many short
    trials has one line for each.
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
        self._tally = tally = Tally(
            metric=metric,
            trials=trials,
            budget_seconds=budget_seconds,
            counts=_counts(finished, pruned, infeasible, failed),
            best_value=best_value,
            best_trial=best_trial,
            clock=self._clock,
        )
        bounds = [] if trials is None else [f"{trials} trials"]
        bounds += [] if budget_seconds is None else [f"at most {duration(budget_seconds)}"]
        before = f"; resumed: {tally.states()}, best {tally.best()}" if tally.ended else ""
        self._line(f"search {study_name}: {', '.join(bounds)}, by {metric_words(metric)}{before}")

    def trial_started(self, *, number: int, summary: str, epochs: float) -> None:
        if self._tally is not None:
            self._tally.start(number)
        self._line(f"trial {number} started{_epochs(epochs)}: {summary}")

    def trial_progress(
        self, *, number: int, epoch: float, epochs: float, metrics: Mapping[str, float]
    ) -> None:
        if self._tally is not None:
            self._tally.advance(number, epoch)
        if self._clock() - self._last_line >= self._interval:
            done = f"{round(epoch, 2):g}/{epochs:.4g}"
            self._line(f"trial {number} epoch {done}: {describe_metrics(metrics)}")

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
        tally = self._tally
        standing = ""
        if tally is not None:
            tally.finish(number, state, best_value)
            left = tally.remaining
            time_left = "" if left is None else f"; about {duration(left)} left"
            standing = f"; best {tally.best()}; {tally.states()}{time_left}"
        outcome = "" if value is None else f" {value:.4f}"
        why = "" if reason is None else f" ({one_line(reason)})"
        self._line(f"trial {number} {state}{outcome}{why} in {duration(seconds)}{standing}")

    def search_finished(self) -> None:
        if self._tally is not None:
            tally = self._tally
            tally.stop()
            self._line(f"search finished: {tally.states()}; best {tally.best()}")

    def retraining_started(self, *, epochs: float, images: int, summary: str) -> None:
        self._retraining_epoch = 0
        self._line(f"retraining{_epochs(epochs)} on {counted(images, 'image')}: {summary}")

    def retraining_progress(
        self, *, epoch: float, epochs: float, metrics: Mapping[str, float]
    ) -> None:
        whole, waited = int(epoch), self._clock() - self._last_line
        is_new = whole > self._retraining_epoch and waited >= _SECONDS_BETWEEN_EPOCHS
        if is_new or epoch >= epochs or waited >= self._interval:
            self._retraining_epoch = whole
            done = f"{round(epoch, 2):g}/{epochs:.4g}"
            self._line(f"retraining epoch {done}: {describe_metrics(metrics)}")

    def retraining_finished(self, *, seconds: float) -> None:
        self._line(f"retraining finished in {duration(seconds)}")

    def note(self, text: str) -> None:
        self._line(one_line(text))

    def warning(self, text: str) -> None:
        self._line(f"warning: {one_line(text)}")

    def _line(self, text: str) -> None:
        self._last_line = self._clock()
        # Markup and highlighting off: a reason may hold brackets. No width: a log is not wrapped.
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def make_progress(console: Console | None = None) -> Progress:
    """Returns live progress where the console is a terminal, plain lines elsewhere."""
    console = console or Console()
    if not console.is_terminal or console.is_dumb_terminal:
        return PlainProgress(console)
    from search.progress.live import LiveProgress

    return LiveProgress(console)


def duration(seconds: float) -> str:
    """Returns seconds as a person says them: `0.8 s`, `42 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, as in `1 epoch` and `50,000 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def metric_words(metric: str) -> str:
    """Returns a metric's name for a reader: `val_macro_f1` becomes `validation macro F1`."""
    words = metric.replace("f1", "F1").replace("_", " ")
    return f"validation {words[4:]}" if words.startswith("val ") else words


def describe_metrics(metrics: Mapping[str, float]) -> str:
    """Returns the loss and the accuracies of an epoch in one line."""
    shown = [
        f"{metric_words(name)} {metrics[name]:.4f}"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy")
        if name in metrics
    ]
    return ", ".join(shown) or "training"


def _epochs(epochs: float) -> str:
    """Returns a training's length in words; nothing while it is not known."""
    return f", {epochs:.4g} epoch{'' if epochs == 1 else 's'}" if epochs else ""


def one_line(text: str) -> str:
    """Returns a text's words on one line."""
    return " ".join(text.split())


def _counts(complete: int, pruned: int, infeasible: int, failed: int) -> dict[TrialState, int]:
    return {"complete": complete, "pruned": pruned, "infeasible": infeasible, "failed": failed}
