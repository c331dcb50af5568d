"""Variations of the best candidate so far, one known-good change at a time."""

from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler

from search.optimize.sampling import ReseedingSampler
from search.optimize.variations import VariationSampler
from search.storage import quiet_optuna

DEFAULT: dict[str, Any] = {"filters": 32, "rate": 0.01, "horizontal_flip": False}
VARIATIONS: tuple[dict[str, Any], ...] = (
    {"filters": 48},
    {"rate": 0.03},
    {"filters": 16, "rate": 0.02},
)


def make_study(storage: optuna.storages.BaseStorage | None = None) -> optuna.Study:
    sampler = VariationSampler(
        TPESampler(seed=0, n_startup_trials=1), default=DEFAULT, variations=VARIATIONS
    )
    with quiet_optuna():
        return optuna.create_study(
            study_name="varied",
            direction="maximize",
            storage=storage,
            sampler=ReseedingSampler(sampler, seed=0),
            load_if_exists=True,
        )


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "filters": trial.suggest_int("filters", 8, 64),
        "rate": trial.suggest_float("rate", 1e-3, 0.1, log=True),
        "horizontal_flip": trial.suggest_categorical("horizontal_flip", [False, True]),
    }


def run(study: optuna.Study, value: float, **attributes: Any) -> dict[str, Any]:
    trial = study.ask()
    suggested = suggest(trial)
    for name, attribute in attributes.items():
        trial.set_user_attr(name, attribute)
    study.tell(trial, value)
    return suggested


def test_each_variation_is_applied_once_to_the_best_so_far() -> None:
    study = make_study()
    study.enqueue_trial(DEFAULT)

    assert run(study, 0.5) == DEFAULT
    assert run(study, 0.6) == DEFAULT | {"filters": 48}  # better: later trials keep it
    assert run(study, 0.4) == DEFAULT | {"filters": 48, "rate": 0.03}
    assert run(study, 0.3) == DEFAULT | {"filters": 16, "rate": 0.02}


def test_a_variation_that_changes_nothing_is_skipped() -> None:
    study = make_study()
    study.enqueue_trial(DEFAULT | {"filters": 48, "rate": 0.05})
    run(study, 0.5)  # already has the first variation's value

    suggested = [run(study, 0.4) for _ in VARIATIONS]

    assert suggested[0] != DEFAULT | {"filters": 48, "rate": 0.05}
    assert suggested[1] == DEFAULT | {"filters": 48, "rate": 0.03}


def test_a_variation_of_an_unused_parameter_is_skipped() -> None:
    sampler = VariationSampler(
        TPESampler(seed=0, n_startup_trials=1), default=DEFAULT, variations=[{"unasked": 1}]
    )
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(DEFAULT)
    run(study, 0.5)

    assert run(study, 0.5) != DEFAULT


def test_flips_set_the_parameters_stored_with_the_study() -> None:
    study = make_study()
    study.set_user_attr("flip_parameters", ["own_flip"])
    run(study, 0.5, mirrored_images={"harmless": True})

    own = []
    for _ in range(5):
        trial = study.ask()
        own.append(trial.suggest_categorical("own_flip", [False, True]))
        study.tell(trial, 0.4)

    assert own == [True] * 5


def test_after_the_variations_the_sampler_takes_over() -> None:
    study = make_study()
    for _ in VARIATIONS:
        run(study, 0.5)

    later = [run(study, 0.5) for _ in range(3)]

    known = [DEFAULT | change for change in VARIATIONS]
    assert not [suggested for suggested in later if suggested in known]
    assert len({suggested["rate"] for suggested in later}) == 3


def test_concurrent_trials_get_different_variations() -> None:
    storage = optuna.storages.InMemoryStorage()
    workers = [make_study(storage) for _ in range(3)]
    workers[0].enqueue_trial(DEFAULT)

    trials = [worker.ask() for worker in [workers[1], *workers]]
    # They suggest their parameters in a different order from that in which they started.
    suggested = {trial.number: suggest(trial) for trial in reversed(trials)}

    assert [suggested[number] for number in range(4)] == [
        DEFAULT,
        *(DEFAULT | change for change in VARIATIONS),
    ]


def test_enqueued_first_trials_use_up_no_variation() -> None:
    study = make_study()
    for filters in (8, 9, 10, 11):
        study.enqueue_trial(DEFAULT | {"filters": filters})
    enqueued = [run(study, value)["filters"] for value in (0.1, 0.2, 0.9, 0.3)]

    assert enqueued == [8, 9, 10, 11]
    assert run(study, 0.1) == DEFAULT | {"filters": 48}
    assert run(study, 0.1) == DEFAULT | {"filters": 10, "rate": 0.03}


@pytest.mark.parametrize("harmless", [True, False])
def test_flips_follow_what_the_search_found(harmless: bool) -> None:
    study = make_study()
    study.enqueue_trial(DEFAULT)
    run(study, 0.5, mirrored_images={"harmless": harmless})

    later = [run(study, 0.5)["horizontal_flip"] for _ in range(len(VARIATIONS) + 3)]

    assert later == [harmless] * len(later)


def test_the_sampler_decides_flips_until_something_is_found() -> None:
    study = make_study()
    study.enqueue_trial(DEFAULT)
    run(study, 0.5, mirrored_images={"harmless": None})
    for _ in VARIATIONS:
        assert run(study, 0.5)["horizontal_flip"] is False

    assert len({run(study, 0.5)["horizontal_flip"] for _ in range(8)}) == 2


def test_a_value_outside_the_space_is_sampled_instead() -> None:
    sampler = VariationSampler(TPESampler(seed=0), default=DEFAULT, variations=({"filters": 4096},))
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=sampler)

    suggested = run(study, 0.5)

    assert 8 <= suggested["filters"] <= 64
    assert suggested["rate"] == DEFAULT["rate"]
