"""The choice among measured settings."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.sizing.choice import LEAST_GAIN, Measurement, Setting, choose, worker_steps

speeds = st.floats(min_value=0.1, max_value=1e6, allow_nan=False)


def taken(speeds: Sequence[float]) -> list[Measurement]:
    """One process in two precisions, then 2, 4, 8 ... workers."""
    return [
        Measurement(
            setting=Setting(
                workers=2 ** max(0, number - 1),
                threads=1,
                precision="float32" if number == 0 else "bfloat16",
                xla="off",
            ),
            images_per_second=speed,
        )
        for number, speed in enumerate(speeds)
    ]


@given(st.lists(speeds, min_size=1, max_size=6))
def test_nothing_measured_gains_a_tenth_over_the_choice(measured: list[float]) -> None:
    measurements = taken(measured)
    chosen = choose(measurements)

    assert max(measured) < LEAST_GAIN * chosen.images_per_second


@given(st.lists(speeds, min_size=1, max_size=6))
def test_what_is_plainer_is_slower(measured: list[float]) -> None:
    measurements = taken(measured)
    chosen = choose(measurements)

    plainer = measurements[: measurements.index(chosen)]
    assert all(other.images_per_second <= chosen.images_per_second for other in plainer)


@given(st.lists(speeds, min_size=1, max_size=6), st.integers(1, 32))
def test_never_more_workers_than_fit(measured: list[float], most: int) -> None:
    assert choose(taken(measured), most_workers=most).setting.workers <= most


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        # Measured speeds: small networks gain from more workers, large ones do not.
        ([2900, 3829, 7064], 2),
        ([800, 905, 990], 1),
        ([1000, 1050, 1090], 0),
        ([1000, 1100, 1000], 1),
        ([1000, 500, 1099, 1100], 3),
    ],
)
def test_examples(measured: list[float], chosen: int) -> None:
    measurements = taken(measured)

    assert choose(measurements) == measurements[chosen]


@pytest.mark.parametrize(
    ("cores", "gpus", "steps"),
    [
        (1, 0, [(1, 1)]),
        (2, 0, [(1, 2), (2, 1)]),
        (6, 0, [(1, 6), (2, 3), (6, 1)]),
        (16, 0, [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)]),
        (16, 1, [(1, 16), (2, 8), (4, 4)]),
        (2, 1, [(1, 2), (2, 1), (4, 1)]),
        (16, 2, [(1, 8), (2, 8), (4, 4), (8, 2)]),
    ],
)
def test_steps(cores: int, gpus: int, steps: list[tuple[int, int]]) -> None:
    assert list(worker_steps(cores, gpus)) == steps


@given(st.integers(1, 256))
def test_on_a_cpu_threads_never_outnumber_the_cores(cores: int) -> None:
    for workers, threads in worker_steps(cores, 0):
        assert workers * threads <= cores
