"""Suggesting a component from the distributions in its annotations."""

from typing import Annotated

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FixedTrial

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import Configuration
from cnn_blocks.errors import UserError
from spaces.probe import ProbeTrial
from spaces.suggest import suggest


class Knobs(Configuration):
    """One field of each kind."""

    count: Annotated[int, IntDistribution(2, 8, step=2)] = 2
    scale: Annotated[float, FloatDistribution(1e-3, 1.0, log=True)] = 1.0
    name: Annotated[str, CategoricalDistribution(["a", "b"])] = "a"
    plain: int = 7


def _asked(**fixed: object) -> tuple[Knobs, dict[str, BaseDistribution]]:
    trial = ProbeTrial()
    return suggest(trial, Knobs, prefix="my_", **fixed), trial.distributions


def test_every_annotated_field_is_asked_for_with_its_distribution() -> None:
    knobs, asked = _asked()

    assert asked == {
        "my_count": IntDistribution(2, 8, step=2),
        "my_scale": FloatDistribution(1e-3, 1.0, log=True),
        "my_name": CategoricalDistribution(["a", "b"]),
    }
    assert knobs.plain == 7


def test_optuna_gets_what_the_annotations_say() -> None:
    trial = FixedTrial({"count": 6, "scale": 0.5, "name": "b"})

    assert suggest(trial, Knobs) == Knobs(count=6, scale=0.5, name="b")
    assert trial.distributions == {
        "count": IntDistribution(2, 8, step=2),
        "scale": FloatDistribution(1e-3, 1.0, log=True),
        "name": CategoricalDistribution(["a", "b"]),
    }


def test_a_fixed_value_is_not_asked_for() -> None:
    knobs, asked = _asked(count=100, plain=3)

    assert (knobs.count, knobs.plain) == (100, 3)
    assert set(asked) == {"my_scale", "my_name"}


def test_a_distribution_replaces_the_annotated_one_or_searches_another_field() -> None:
    knobs, asked = _asked(count=IntDistribution(50, 50), plain=IntDistribution(9, 9))

    assert (knobs.count, knobs.plain) == (50, 9)
    assert asked["my_count"] == IntDistribution(50, 50)
    assert asked["my_plain"] == IntDistribution(9, 9)


def test_an_unknown_field_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"field of Plain \(filters, kernel_size.*'filter'\."):
        suggest(ProbeTrial(), Plain, filter=3)
