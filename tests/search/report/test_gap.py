"""What the report says of training and test accuracy."""

from dataclasses import replace
from typing import Any

import pytest

from search.report.charts.training import gap_in_words, trial_gaps
from search.report.data import RunFacts, TrialFacts
from search.report.run_folder import read_run
from search.report.statistics import wilson_interval
from search.report.trials import read_study
from search.results.run_result import RunResult
from search.trials.outcomes import Outcome


@pytest.mark.parametrize(
    ("trained", "test", "images", "said"),
    [
        (0.99, 0.98, 300, "no sign of overfitting"),
        (0.99, 0.96, 10_000, "generalises well"),
        (1.0, 0.90, 10_000, "clearly overfits"),
        (1.0, 0.60, 10_000, "overfits strongly"),
        (0.47, 0.40, 10_000, "underfits"),
        (0.12, 0.11, 300, "hardly learnt anything"),
    ],
)
def test_the_gap_in_words(
    trained: float, test: float, images: int, said: str, finished: RunResult
) -> None:
    assert said in gap_in_words(_run(finished, trained, test, images))


def _run(finished: RunResult, trained: float, test: float, images: int) -> RunFacts:
    run = read_run(finished.directory)
    scores: dict[str, Any] = {
        **run.test,
        "accuracy": test,
        "images": images,
        "majority_baseline": {"class": "0", "accuracy": 0.1},
    }
    return replace(
        run,
        test=scores,
        interval=wilson_interval(round(test * images), images),
        retraining={**run.retraining, "training_accuracy_of_the_model": trained},
    )


def test_trials_that_recorded_their_training_accuracy_are_drawn(finished: RunResult) -> None:
    study = read_study(finished.study)
    assert trial_gaps(replace(study, trials=study.trials[:1])) is None

    trials = tuple(
        TrialFacts(
            number=number, state=Outcome.COMPLETE, value=0.9, training_accuracy=0.9 + 0.02 * number
        )
        for number in range(5)
    )
    drawn = trial_gaps(replace(study, trials=trials, best=0))
    assert drawn is not None
    assert "2 of 5 trials lie more than 5 points below the diagonal" in drawn
