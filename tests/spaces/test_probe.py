"""Probing a space: the same values every time, and a fingerprint of the space's behaviour."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cnn_blocks.source_files import load_source
from spaces import probe
from spaces.probe import ProbeTrial, Space, describe_distribution, space_fingerprint
from spaces.shipped.depth_filters import depth_filters

SPACE = """
from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate, TrainingConfig


def space(trial):
    stages = (Stage(block=Plain(filters=trial.suggest_int("filters", 8, 64))),)
    if trial.suggest_categorical("more", [False, True]):
        stages += (Stage(block=Plain(filters=trial.suggest_int("more_filters", 8, 64))),)
    model = ModelConfig(backbone=Staged(stages=stages), head=Pooled(dropout=0.1))
    return Candidate(model=model, training=TrainingConfig(batch_size=32))
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Space]:
    """Makes a space from its source text."""

    def write(source: str) -> Space:
        path = tmp_path / f"space_{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source)
        space: Space = load_source(path).space
        return space

    return write


def test_a_space_has_the_same_fingerprint_in_another_process(repository: Path) -> None:
    code = (
        "from spaces.probe import space_fingerprint\n"
        "from spaces.shipped.depth_filters import depth_filters\n"
        "print(space_fingerprint(depth_filters))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == space_fingerprint(depth_filters)


def test_a_comment_or_another_name_changes_nothing(written: Callable[[str], Space]) -> None:
    reworded = SPACE.replace("stages", "parts").replace("parts=", "stages=") + "\n# more words\n"
    assert reworded != SPACE

    assert space_fingerprint(written(SPACE)) == space_fingerprint(written(reworded))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"filters", 8, 64', '"filters", 8, 65'),
        ('"filters", 8, 64', '"filters", 8, 64, log=True'),
        ('"more_filters", 8, 64', '"more_filters", 9, 64'),
        ('"filters"', '"channels"'),
        ("[False, True]", "[True, False]"),
        ("dropout=0.1", "dropout=0.2"),
        ("batch_size=32", "batch_size=64"),
    ],
)
def test_a_changed_range_or_fixed_value_changes_the_fingerprint(
    before: str, after: str, written: Callable[[str], Space]
) -> None:
    changed = SPACE.replace(before, after, 1)
    assert changed != SPACE

    assert space_fingerprint(written(SPACE)) != space_fingerprint(written(changed))


def test_a_field_that_stays_at_its_default_changes_nothing(
    written: Callable[[str], Space],
) -> None:
    stated = SPACE.replace("Pooled(dropout=0.1)", 'Pooled(dropout=0.1, pooling="average")')
    assert stated != SPACE

    assert space_fingerprint(written(SPACE)) == space_fingerprint(written(stated))


def test_conditional_parameters_are_found(written: Callable[[str], Space]) -> None:
    found = probe.parameters(written(SPACE))

    assert list(found) == ["filters", "more", "more_filters"]
    assert found["more_filters"] == IntDistribution(8, 64)


def test_lowest_and_highest_take_the_ends() -> None:
    answers = {}
    for strategy in ("lowest", "highest"):
        trial = ProbeTrial(strategy)
        answers[strategy] = (
            trial.suggest_int("depth", 1, 9, step=2),
            trial.suggest_float("rate", 1e-4, 1e-1, log=True),
        )

    assert answers == {"lowest": (1, 1e-4), "highest": (9, 1e-1)}


def test_a_repeated_question_gets_the_same_answer() -> None:
    trial = ProbeTrial()

    assert len({trial.suggest_float("rate", 0, 1) for _ in range(5)}) == 1


@given(
    seed=st.integers(0, 1000),
    low=st.integers(1, 50),
    steps=st.integers(0, 20),
    step=st.integers(1, 7),
)
def test_random_integers_lie_on_the_grid(seed: int, low: int, steps: int, step: int) -> None:
    high = low + steps * step
    drawn = ProbeTrial(seed=seed).suggest_int("x", low, high, step=step)

    assert IntDistribution(low, high, step=step)._contains(drawn)


@given(
    seed=st.integers(0, 1000),
    low=st.floats(1e-6, 10),
    width=st.floats(0, 10),
    options=st.sampled_from([{}, {"log": True}]),
)
def test_random_floats_lie_in_the_range(
    seed: int, low: float, width: float, options: dict[str, Any]
) -> None:
    drawn = ProbeTrial(seed=seed).suggest_float("x", low, low + width, **options)

    assert FloatDistribution(low, low + width, **options)._contains(drawn)


def test_ranges_are_described_in_words() -> None:
    assert describe_distribution(IntDistribution(8, 32, step=8)) == "8 to 32, in steps of 8"
    assert describe_distribution(FloatDistribution(1e-4, 0.1, log=True)) == (
        "0.0001 to 0.1, logarithmic"
    )
    assert describe_distribution(CategoricalDistribution(["max", "average"])) == "max, average"
