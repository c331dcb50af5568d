"""Draws depend only on the study's seed and the trial's number."""

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler

from search.optimize.sampling import ReseedingSampler, _random_states, make_sampler
from search.storage import quiet_optuna
from spaces.task import Task
from studies.study import StudySpec


def _draws(sampler: Callable[[int], BaseSampler], count: int, *, per_process: int) -> list[float]:
    """Returns draws from one study, with a new sampler after every `per_process` trials."""
    with quiet_optuna():
        study = optuna.create_study()
        drawn = []
        for number in range(count):
            if number % per_process == 0:
                study.sampler = ReseedingSampler(sampler(7), seed=7)
            trial = study.ask()
            drawn.append(trial.suggest_float("x", 0.0, 1.0))
            study.tell(trial, (drawn[-1] - 0.3) ** 2)
    return drawn


def test_one_process_per_trial_draws_the_same_as_one_process() -> None:
    samplers: list[Callable[[int], BaseSampler]] = [
        lambda seed: RandomSampler(seed=seed),
        lambda seed: TPESampler(seed=seed),
    ]
    for sampler in samplers:
        once = _draws(sampler, 15, per_process=15)

        assert _draws(sampler, 15, per_process=1) == once
        assert len(set(once)) == len(once)


def test_two_workers_with_one_seed_draw_differently() -> None:
    with quiet_optuna():
        study = optuna.create_study(sampler=ReseedingSampler(TPESampler(seed=1), seed=1))
        other = optuna.load_study(
            study_name=study.study_name,
            storage=study._storage,
            sampler=ReseedingSampler(TPESampler(seed=1), seed=1),
        )

    assert study.ask().suggest_float("x", 0, 1) != other.ask().suggest_float("x", 0, 1)


def test_the_random_states_of_optunas_samplers_are_found() -> None:
    inner = TPESampler(seed=0)

    assert list(_random_states(inner)) == [inner._rng, inner._random_sampler._rng]
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        outer = PartialFixedSampler({}, inner)
    assert len(list(_random_states(outer))) == 2


def test_variations_come_after_the_first_trials_and_before_the_sampler(
    timed_study: StudySpec,
) -> None:
    asked: list[Task] = []

    def start(task: Task) -> list[dict[str, object]]:
        asked.append(task)
        return [{"filters": 6, "dropout": 0.0}]

    spec = timed_study.model_copy(
        update={"start": start, "variations": ({"filters": 8}, {"dropout": 0.25})}
    )
    task = Task(images=77)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, task, seed=0))
    for parameters in spec.first_trials(task):
        study.enqueue_trial(dict(parameters))
    for value in (0.5, 0.9, 0.1, 0.1):
        trial = study.ask()
        spec.candidate(trial, task)
        study.tell(trial, value)

    assert {found.images for found in asked} == {77}
    assert [trial.params for trial in study.trials[:3]] == [
        {"filters": 6, "dropout": 0.0},
        {"filters": 8, "dropout": 0.0},
        {"filters": 8, "dropout": 0.25},
    ]
    assert study.trials[3].params not in [trial.params for trial in study.trials[:3]]
