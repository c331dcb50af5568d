"""A stored study, read for a report."""

from datetime import datetime, timedelta

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.report.trials import read_study
from search.results.run_result import RunResult
from search.storage import TrialAttribute
from search.trials.outcomes import Outcome

DAY = datetime(2026, 11, 20, 12, 0)


def _add(study: optuna.Study, began: float, ended: float, value: float | None = 0.5) -> None:
    trial = create_trial(
        state=TrialState.COMPLETE if value is not None else TrialState.FAIL, value=value
    )
    trial.datetime_start = DAY + timedelta(seconds=began)
    trial.datetime_complete = DAY + timedelta(seconds=ended)
    study.add_trial(trial)


def test_pauses_between_commands_are_no_search_time(study: optuna.Study) -> None:
    _add(study, 0, 10)
    _add(study, 5, 20)
    _add(study, 90_000, 90_030)
    facts = read_study(study)

    assert [trial.began for trial in facts.trials] == [0, 5, 20]
    assert [trial.ended for trial in facts.trials] == [10, 20, 50]
    assert facts.search_seconds == 50


def test_a_finished_study(finished: RunResult) -> None:
    facts = read_study(finished.study)
    best = facts.trial(facts.best)

    assert best is not None
    assert best.value == finished.study.best_value
    assert facts.metric == "accuracy"
    assert facts.maximize
    assert facts.class_names == tuple(map(str, range(10)))
    assert facts.split == {"train": 1259, "validation": 269, "test": 269}
    # Two epochs of a trial that ran to its end.
    assert best.passes == 2
    assert [passes for passes, _ in best.curve] == [1, 2]
    assert facts.images_shown == sum(
        round(trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED, 0) * 1259)
        for trial in finished.study.trials
    )


def test_a_study_in_the_middle(unfinished: optuna.Study) -> None:
    facts = read_study(unfinished)
    states = [trial.state for trial in facts.trials]

    assert states[-2:] == ["running", "waiting"]
    assert {Outcome.PRUNED, Outcome.INFEASIBLE, Outcome.FAILED, Outcome.CRASHED} <= set(states)
    assert Outcome.CRASHED not in {trial.state for trial in facts.counted}
    waiting = facts.trials[-1]
    assert waiting.choices == {"filters": 4, "dropout": 0.25}
    assert (waiting.value, waiting.began) == (None, None)
    assert facts.trials[-2].curve == ((1, 0.3),)


def test_importance_needs_complete_trials_that_differ(study: optuna.Study) -> None:
    distributions = {
        "a": optuna.distributions.FloatDistribution(0, 1),
        "b": optuna.distributions.CategoricalDistribution(["x", "y"]),
    }
    for number in range(4):
        params = {"a": number / 4, "b": "xy"[number % 2]}
        study.add_trial(create_trial(value=number, params=params, distributions=distributions))
    assert [one.importance for one in read_study(study).parameters] == [None, None]

    for number in range(4, 30):
        params = {"a": number / 30, "b": "xy"[number % 2]}
        study.add_trial(create_trial(value=number, params=params, distributions=distributions))
    importance = {one.name: one.importance for one in read_study(study).parameters}
    assert sum(subset or 0 for subset in importance.values()) == pytest.approx(1)
    assert (importance["a"] or 0) > (importance["b"] or 0)


def test_an_empty_study(study: optuna.Study) -> None:
    facts = read_study(study)

    assert (facts.trials, facts.best, facts.search_seconds) == ((), None, 0)
