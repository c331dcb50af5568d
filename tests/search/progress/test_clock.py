"""The clock counts every second once."""

import time

import pytest

from search.progress.clock import Clock


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The current time of the clock; tests change it."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_an_inner_activity_is_not_part_of_the_outer_one(seconds: list[float]) -> None:
    clock = Clock()
    seconds[0] += 50  # outside every activity
    with clock.measure("training"):
        seconds[0] += 3
        with clock.measure("validation"):
            seconds[0] += 1
            with clock.measure("data"):
                seconds[0] += 0.5
        seconds[0] += 2
    seconds[0] += 50
    with clock.measure("validation"):
        seconds[0] += 1.5

    assert dict(clock.seconds) == {"training": 5, "validation": 2.5, "data": 0.5}
    assert clock.shares() == [
        ("training", 5, 0.625),
        ("validation", 2.5, 0.3125),
        ("data", 0.5, 0.0625),
    ]


def test_an_error_ends_the_activity(seconds: list[float]) -> None:
    clock = Clock()
    with clock.measure("training"):
        with pytest.raises(RuntimeError), clock.measure("storage"):
            seconds[0] += 1
            raise RuntimeError
        seconds[0] += 4

    assert dict(clock.seconds) == {"training": 4, "storage": 1}


def test_an_activity_may_repeat_inside_itself(seconds: list[float]) -> None:
    clock = Clock()
    with clock.measure("other"), clock.measure("other"):
        seconds[0] += 2

    assert dict(clock.seconds) == {"other": 2}


def test_nothing_measured_has_no_shares() -> None:
    assert Clock().shares() == []
