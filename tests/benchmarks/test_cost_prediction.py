"""The fit of the cost coefficients."""

import numpy as np
import pytest

from benchmarks.cost.fitting import fit, spread
from benchmarks.cost.rows import undisturbed

PRIOR = {"steps": 100.0, "multiplies": 1.0, "simple": 1.0}
TRUE = {"steps": 300.0, "multiplies": 0.2, "simple": 4.0}


def observations(count: int) -> list[tuple[dict[str, float], float]]:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        amounts = {
            "steps": 1.0,
            "multiplies": float(10 ** generator.uniform(2, 4)),
            "simple": float(10 ** generator.uniform(1, 3)),
        }
        found.append((amounts, sum(amounts[name] * TRUE[name] for name in TRUE)))
    return found


def test_the_fit_finds_the_prices_that_made_the_totals() -> None:
    assert fit(observations(40), PRIOR) == pytest.approx(TRUE, rel=0.05)


def test_a_few_networks_that_no_price_explains_decide_nothing() -> None:
    disturbed = [
        (amounts, total * (4 if number % 8 == 0 else 1))
        for number, (amounts, total) in enumerate(observations(40))
    ]

    assert fit(disturbed, PRIOR) == pytest.approx(TRUE, rel=0.15)


def test_a_quantity_that_no_network_has_keeps_its_price() -> None:
    assert fit(observations(40), {**PRIOR, "resized": 7.0})["resized"] == 7.0


def test_no_price_is_negative() -> None:
    cheaper = [({"steps": 1.0, "simple": float(n)}, 100.0 - n) for n in range(1, 20)]

    assert min(fit(cheaper, PRIOR).values()) >= 0


def test_errors_are_shares_of_what_was_measured() -> None:
    found = spread([0.9, 1.0, 1.3])

    assert found["median_error"] == pytest.approx(0.1)
    assert found["networks"] == 3


def test_the_clock_counts_on_a_free_machine_and_the_processor_on_a_busy_one() -> None:
    row = {
        "step": 0.5,
        "step_processor": 0.182,
        "compiling": 9.0,
        "compiling_processor": 3.0,
        "others_share": 0.7,
    }

    assert undisturbed({**row, "others_share": 0.02}, "step") == 0.5
    assert 0.1 <= undisturbed(row, "step") < 0.2
    assert undisturbed(row, "compiling") == pytest.approx(3.0 - 0.182 + undisturbed(row, "step"))
