"""The state of a search: its trials, epochs and time."""

import time
from collections import Counter
from collections.abc import Callable

from search.progress.events import SearchFinished, SearchStarted, TrialFinished, TrialState
from search.progress.words import metric_words

# In display order. Interrupted and crashed trials are missing because they are continued.
STATES: tuple[tuple[TrialState, str], ...] = (
    ("complete", "done"),
    ("pruned", "pruned"),
    ("infeasible", "infeasible"),
    ("failed", "failed"),
)


class Tally:
    """Counts a search's trials and epochs, and estimates the remaining time."""

    def __init__(
        self, search: SearchStarted, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.metric = search.metric
        self.trials = search.trials
        self.budget_seconds = search.budget_seconds
        self.counts: Counter[TrialState] = Counter(
            {
                "complete": search.complete,
                "pruned": search.pruned,
                "infeasible": search.infeasible,
                "failed": search.failed,
            }
        )
        self.best_value = search.best_value
        self.best_trial = search.best_trial
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
        """Records the number of epochs that a running trial has finished."""
        self.running[number] = epoch

    def finish(self, event: TrialFinished) -> None:
        """Counts a trial as ended."""
        self._finished_epochs += self.running.pop(event.number, 0.0)
        if event.state in ("interrupted", "crashed"):
            return
        self.counts[event.state] += 1
        self._finished_here += 1
        self._note_best(event)

    def stop(self, event: SearchFinished) -> None:
        """Stops the clock: no further trial will start."""
        if self._stopped is None:
            self._stopped = self._clock()
        self._note_best(event)

    @property
    def ended(self) -> int:
        """The number of trials that count towards the total."""
        return sum(self.counts.values())

    @property
    def epochs(self) -> int:
        """The number of complete epochs trained by this process."""
        return int(self._finished_epochs + sum(self.running.values()))

    @property
    def elapsed(self) -> float:
        """Seconds since this process started searching."""
        return (self._clock() if self._stopped is None else self._stopped) - self._started

    @property
    def remaining(self) -> float | None:
        """Estimated seconds left, from the mean trial time and the budget; None if unknown or 0."""
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
        # "infeasible" is shown only if there are such trials; the other states are always shown.
        shown = [f"{count} {word}" for count, word in named if count or word != "infeasible"]
        if self._stopped is None:
            shown.append(f"{len(self.running)} running")
        return ", ".join(shown)

    def best(self) -> str:
        """Returns the best value with its trial, in words."""
        if self.best_value is None:
            return "none yet"
        where = "" if self.best_trial is None else f" (trial {self.best_trial})"
        return f"{metric_words(self.metric)} {self.best_value:z.4f}{where}"

    def _note_best(self, event: TrialFinished | SearchFinished) -> None:
        if event.best_value is not None:
            self.best_value, self.best_trial = event.best_value, event.best_trial
