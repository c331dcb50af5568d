"""Converting parameters in both directions keeps ranges, steps and sampling."""

import functools
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cnn_blocks.errors import UserError
from spaces.probe import ProbeTrial
from spaces.suggest import Trial


def drawn(suggest: Any, *, draws: int = 60) -> list[Any]:
    """Returns the values that Keras Tuner's random search draws for one `suggest_*` call."""
    import keras_tuner

    from search.keras_tuner.parameters import HyperParametersTrial

    first = keras_tuner.HyperParameters()
    suggest(HyperParametersTrial(first))
    values = []
    for seed in range(draws):
        hp = first.copy()
        hp.values = {known.name: known.random_sample(seed) for known in hp.space}
        values.append(suggest(HyperParametersTrial(hp)))
    return values


@pytest.mark.parametrize(
    ("low", "high", "options", "expected"),
    [
        (2, 4, {}, {2, 3, 4}),
        (3, 7, {"step": 2}, {3, 5, 7}),
        (1, 3, {"log": True}, {1, 2, 3}),
        (16, 16, {"log": True}, {16}),
    ],
)
def test_our_integers_reach_all_values_and_no_others(
    low: int, high: int, options: dict[str, Any], expected: set[int]
) -> None:
    values = drawn(lambda trial: trial.suggest_int("n", low, high, **options))

    assert set(values) == expected
    assert {type(value) for value in values} == {int}


def test_our_logarithmic_ranges_are_drawn_logarithmically() -> None:
    whole = drawn(lambda trial: trial.suggest_int("n", 1, 10_000, log=True))
    floats = drawn(lambda trial: trial.suggest_float("x", 1e-4, 1e4, log=True))

    assert 0.25 < sum(value <= 100 for value in whole) / len(whole) < 0.75
    assert 0.25 < sum(value <= 1 for value in floats) / len(floats) < 0.75


def test_our_stepped_floats_keep_both_ends() -> None:
    values = drawn(lambda trial: trial.suggest_float("x", 0.0, 0.6, step=0.1))

    assert set(values) == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6}


@pytest.mark.parametrize(
    "choices", [[False, True], [True], ["a", "b"], [3, 5], [0.5, 1.5], [None, "x", 2], [1, 1.5]]
)
def test_our_categories_come_back_as_what_they_are(choices: list[Any]) -> None:
    values = drawn(lambda trial: trial.suggest_categorical("c", choices))

    assert {(type(value), value) for value in values} == {(type(c), c) for c in choices}


def test_a_range_that_changes_under_one_name_is_refused() -> None:
    def twice(trial: Trial) -> int:
        trial.suggest_int("filters", 100, 200)
        return trial.suggest_int("filters", 1, 2)

    with pytest.raises(UserError, match=r"'filters'.*another name"):
        drawn(twice)


def asked(declare: Any, *, strategy: Any = "random", seed: int = 0) -> tuple[ProbeTrial, Any]:
    """Returns the trial that a declaration of hyperparameters used, and the hyperparameters."""
    from search.keras_tuner.parameters import SuggestedHyperParameters, suggest_value

    trial = ProbeTrial(strategy, seed=seed)
    hp = SuggestedHyperParameters(lambda hyperparameter: suggest_value(trial, hyperparameter))
    declare(hp)
    return trial, hp


@pytest.mark.parametrize(
    ("kind", "options", "name", "expected"),
    [
        ("Int", {}, "n", IntDistribution(2, 32)),
        ("Int", {"sampling": None}, "n", IntDistribution(2, 32)),
        ("Int", {"step": 4}, "n", IntDistribution(2, 30, step=4)),
        ("Int", {"sampling": "log"}, "n", IntDistribution(2, 32, log=True)),
        ("Int", {"sampling": "log", "step": 2}, "n (position)", IntDistribution(0, 4)),
        ("Int", {"sampling": "reverse_log"}, "n (mirrored)", IntDistribution(2, 32, log=True)),
        ("Float", {}, "n", FloatDistribution(2, 32)),
        ("Float", {"step": 0.7}, "n", FloatDistribution(2, 31.4, step=0.7)),
        ("Float", {"sampling": "log"}, "n", FloatDistribution(2, 32, log=True)),
        ("Float", {"sampling": "log", "step": 4}, "n (position)", IntDistribution(0, 2)),
        ("Float", {"sampling": "reverse_log"}, "n (mirrored)", FloatDistribution(2, 32, log=True)),
    ],
)
def test_their_numbers_keep_range_step_and_sampling(
    kind: str, options: dict[str, Any], name: str, expected: Any
) -> None:
    trial, hp = asked(lambda hp: getattr(hp, kind)("n", 2, 32, **options))

    assert trial.distributions == {name: expected}
    assert 2 <= hp.values["n"] <= 32
    assert isinstance(hp.values["n"], int if kind == "Int" else float)


@pytest.mark.parametrize(
    ("options", "lowest", "highest"),
    [
        ({"sampling": "log", "step": 2}, 2, 32),
        ({"sampling": "reverse_log", "step": 2}, 32, 2),
        ({"sampling": "reverse_log"}, 32, 2),
    ],
)
def test_their_positions_and_mirrors_mean_their_values(
    options: dict[str, Any], lowest: int, highest: int
) -> None:
    ends = [
        asked(lambda hp: hp.Int("n", 2, 32, **options), strategy=strategy)[1].values["n"]
        for strategy in ("lowest", "highest")
    ]

    assert ends == [lowest, highest]


def test_their_other_kinds() -> None:
    def declare(hp: Any) -> None:
        hp.Boolean("flag")
        hp.Choice("name", ["a", "b"])
        hp.Choice("flags", [True, False])
        hp.Fixed("rate", 0.5)

    trial, hp = asked(declare)

    assert trial.distributions == {
        "flag": CategoricalDistribution([False, True]),
        "name": CategoricalDistribution(["a", "b"]),
        "flags": CategoricalDistribution([1, 0]),  # as Keras Tuner turns them into integers
    }
    assert isinstance(hp.values["flag"], bool)
    assert hp.values["rate"] == 0.5


def test_inactive_hyperparameters_are_not_asked_for() -> None:
    answers: list[Any] = []

    def declare(hp: Any) -> None:
        hp.Choice("kind", ["a", "b"])
        for kind in ("a", "b"):
            with hp.conditional_scope("kind", [kind]):
                answers.append(hp.Int("units", 1, 5 if kind == "a" else 50))
        with hp.name_scope("deep"):
            hp.Int("units", 1, 2)

    for seed in range(8):
        answers.clear()
        trial, hp = asked(declare, seed=seed)
        kind = trial.params["kind"]
        assert set(trial.params) == {"kind", f"units if kind={kind}", "deep/units"}
        assert set(hp.values) == {"kind", "units", "deep/units"}
        assert [answer is not None for answer in answers] == [kind == "a", kind == "b"]


def test_one_name_under_two_conditions_lives_in_one_study() -> None:
    """Optuna refuses a changed category under one name."""
    from search.keras_tuner.parameters import SuggestedHyperParameters, suggest_value

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(8):
        trial = study.ask()
        hp = SuggestedHyperParameters(functools.partial(suggest_value, trial))
        hp.Choice("kind", ["a", "b"])
        for kind in ("a", "b"):
            hp.Choice("layer", [kind, "none"], parent_name="kind", parent_values=[kind])
        study.tell(trial, 0.0)

    assert {name for trial in study.trials for name in trial.params} == {
        "kind",
        "layer if kind=a",
        "layer if kind=b",
    }
