"""The figures that a report computes itself."""

import pytest

from search.report.data import TrialFacts
from search.report.statistics import best_so_far, calibrate, wilson_interval
from search.trials.outcomes import Outcome


@pytest.mark.parametrize(
    ("right", "images", "expected"),
    [
        # From Newcombe (1998), table I, and the closed form at the ends.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0)),
    ],
)
def test_wilson_interval(right: int, images: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(right, images) == pytest.approx(expected, abs=1e-4)


def test_the_interval_of_no_images_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_calibration_error_weights_bins_by_their_images() -> None:
    found = calibrate([0.95, 0.95, 0.95, 0.55], [True, True, False, True])

    assert found is not None
    # Three images, 0.95 sure and two thirds right; one image, 0.55 sure and right.
    assert found.error == pytest.approx((3 * abs(0.95 - 2 / 3) + abs(0.55 - 1)) / 4)
    assert [one.images for one in found.bins] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]


def test_a_confidence_of_one_lies_in_the_last_bin() -> None:
    found = calibrate([1.0], [True])

    assert found is not None
    assert found.bins[-1].images == 1
    assert found.error == 0


def test_nothing_to_calibrate() -> None:
    assert calibrate([], []) is None


def _trial(number: int, value: float | None, ended: float, state: Outcome) -> TrialFacts:
    return TrialFacts(number=number, state=state, value=value, ended=ended)


def test_best_so_far_follows_the_direction_and_complete_trials_only() -> None:
    trials = [
        _trial(0, 0.5, 10, Outcome.COMPLETE),
        _trial(1, 0.9, 20, Outcome.PRUNED),
        _trial(2, 0.4, 30, Outcome.COMPLETE),
        _trial(3, 0.6, 40, Outcome.COMPLETE),
        _trial(4, None, 50, Outcome.FAILED),
    ]

    assert best_so_far(trials, maximize=True) == ((10, 0.5), (40, 0.6))
    assert best_so_far(trials, maximize=False) == ((10, 0.5), (30, 0.4))
