"""When the timing of steps ends."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from search.training import timed_steps


@pytest.mark.parametrize(
    ("untimed", "fewest", "seconds", "steps"),
    [(1, 1, 3.0, 4), (3, 1, 3.0, 6), (1, 9, 3.0, 9), (3, 1, 0.0, 1)],
)
def test_steps_are_timed_after_the_first_ones(
    untimed: int, fewest: int, seconds: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Iterator[tuple[float, float]] = ((float(step), 0.0) for step in range(100))
    monkeypatch.setattr(timed_steps, "now", lambda: next(clock))
    stopwatch = timed_steps._Stopwatch(untimed=untimed, fewest=fewest, seconds=seconds)
    model = SimpleNamespace(stop_training=False)
    stopwatch.set_model(model)

    while not model.stop_training:
        stopwatch.on_train_batch_end(len(stopwatch.ends), {"loss": 1.0})

    assert len(stopwatch.ends) == steps
