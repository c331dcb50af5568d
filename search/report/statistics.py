"""The figures that a report computes itself."""

import math
from collections.abc import Iterable, Sequence

from search.report.data import Bin, Calibration, TrialFacts
from search.trials.outcomes import Outcome

# 95% of a normal distribution lie within this many standard deviations.
_DEVIATIONS = 1.959964
_BINS = 10


def wilson_interval(right: float, images: int) -> tuple[float, float]:
    """Returns the 95% interval of the share `right` / `images`.

    Wilson (1927): unlike the usual approximation, it holds for few images and for shares near 1.
    """
    if not images:
        return 0.0, 1.0
    share, square = right / images, _DEVIATIONS**2
    middle = (share + square / (2 * images)) / (1 + square / images)
    spread = math.sqrt(share * (1 - share) / images + square / (4 * images**2))
    half = _DEVIATIONS * spread / (1 + square / images)
    return max(0.0, middle - half), min(1.0, middle + half)


def calibrate(confidences: Sequence[float], right: Sequence[bool]) -> Calibration | None:
    """Compares confidence with accuracy in ten bins of equal width; None without images.

    The expected calibration error is the mean distance between the two, weighted by the number of
    images (Naeini et al., 2015).
    """
    if not confidences:
        return None
    members: list[list[tuple[float, bool]]] = [[] for _ in range(_BINS)]
    for confidence, hit in zip(confidences, right, strict=True):
        members[min(_BINS - 1, int(confidence * _BINS))].append((confidence, hit))
    bins = []
    for number, found in enumerate(members):
        count = len(found)
        bins.append(
            Bin(
                low=number / _BINS,
                high=(number + 1) / _BINS,
                images=count,
                confidence=sum(sure for sure, _ in found) / count if count else 0.0,
                accuracy=sum(hit for _, hit in found) / count if count else 0.0,
            )
        )
    error = sum(one.images * abs(one.accuracy - one.confidence) for one in bins) / len(confidences)
    return Calibration(error=error, bins=tuple(bins))


def best_so_far(trials: Iterable[TrialFacts], *, maximize: bool) -> tuple[tuple[float, float], ...]:
    """Returns (seconds of search, best value) at every complete trial that improved the best."""
    complete = [
        (trial.ended, trial.value)
        for trial in trials
        if trial.state is Outcome.COMPLETE and trial.ended is not None and trial.value is not None
    ]
    steps: list[tuple[float, float]] = []
    for ended, value in sorted(complete):
        if not steps or (value > steps[-1][1] if maximize else value < steps[-1][1]):
            steps.append((ended, value))
    return tuple(steps)
