"""Fits the coefficients of `search/sizing/coefficients.py` to measured seconds."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.cost.cases import Case
from benchmarks.cost.rows import PARTS, Row, fastest, undisturbed
from search.sizing import coefficients as shipped
from search.sizing.coefficients import COMPILING_SECONDS, GROUPS, Precision
from search.sizing.quantities import of_step, of_validation

# The weight of the price before the fit, relative to 1 for an observation.
_PRIOR_WEIGHT = 0.02
# Iterations of reweighting. Plain least squares would let a few outliers dominate.
_ROUNDS = 12
_LEAST_RESIDUAL = 0.03


def fit(
    observations: Sequence[tuple[Mapping[str, float], float]], prior: Mapping[str, float]
) -> dict[str, float]:
    """Returns the non-negative prices of the quantities that best explain the measured totals.

    `observations` are (quantities, total). The fit approximately minimises the sum of relative
    errors; `prior` decides prices that the observations do not determine.
    """
    from scipy.optimize import nnls

    names = [name for name in prior if any(amounts.get(name) for amounts, _ in observations)]
    # Totals are scaled to 1, and so are the prior prices.
    before = np.array([max(prior[name], 1e-6) for name in names])
    parts = np.array(
        [[amounts.get(name, 0.0) / total for name in names] for amounts, total in observations]
    )
    scaled = parts * before
    weights = np.ones(len(scaled))
    found = np.ones(len(names))
    for _ in range(_ROUNDS):
        rows = np.vstack([scaled * weights[:, None], _PRIOR_WEIGHT * np.eye(len(names))])
        wanted = np.concatenate([weights, np.full(len(names), _PRIOR_WEIGHT)])
        found = nnls(rows, wanted)[0]
        residuals = np.abs(scaled @ found - 1)
        weights = 1 / np.sqrt(np.maximum(residuals, _LEAST_RESIDUAL))
        weights /= weights.mean()
    fitted = dict(zip(names, found * before, strict=True))
    return {name: float(fitted.get(name, value)) for name, value in prior.items()}


def fit_table(known: Mapping[str, Case], record: Row, precision: Precision) -> Row:
    """Prints the tables fitted to all networks; returns the errors on held-out halves."""
    measured = fastest(record, precision)
    names = list(measured)
    halves = names[::2], names[1::2]
    ratios: dict[str, list[float]] = {part: [] for part in PARTS}
    for fitted_on, judged_on in (halves, halves[::-1]):
        prices, compiling = fit_prices_of(known, measured, fitted_on, precision)
        for name in judged_on:
            case, row = known[name], measured[name]
            step = of_step(case.shape, case.candidate.training, row["batch_size"])
            ratios["step"].append(price(step, prices) * 1e-9 / row["step"])
            ratios["validation"].append(
                price(of_validation(case.shape), prices) * 1e-9 / row["validation"]
            )
            compiled = price(step, compiling) + row["step"]
            ratios["compiling"].append(compiled / row["compiling"])
    prices, compiling = fit_prices_of(known, measured, names, precision)
    turns = record["probes"][precision]
    probes = {
        group: [
            min(undisturbed(turn, part) for turn in turns[group]) for part in ("step", "compiling")
        ]
        for group in GROUPS
    }
    for title, table in (("COEFFICIENTS", prices), ("COMPILING_SECONDS", compiling)):
        rounded = {name: float(f"{value:.3g}") for name, value in table.items()}
        print(f"{title}, {precision}:", json.dumps(rounded, indent=4))
    print(f"PROBES, {precision}: {probes}")
    found = {part: spread(values) for part, values in ratios.items()}
    print(f"held-out halves, {precision}:", json.dumps(found, indent=2))
    return found


def fit_prices_of(
    known: Mapping[str, Case],
    measured: Mapping[str, Row],
    names: Sequence[str],
    precision: Precision,
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns nanoseconds per quantity and seconds of compiling, fitted to networks `names`."""
    before = shipped.COEFFICIENTS[precision]
    passes = {name: price for name, price in before.items() if name.startswith("forward_")}
    passes = fit(
        [(of_validation(known[name].shape), measured[name]["validation"] * 1e9) for name in names],
        passes,
    )
    steps = {
        name: of_step(
            known[name].shape, known[name].candidate.training, measured[name]["batch_size"]
        )
        for name in names
    }
    gradients = {name: value for name, value in before.items() if name not in passes}
    gradients = fit(
        [
            # Frozen layers cost the same as in validation.
            (steps[name], measured[name]["step"] * 1e9 - price(steps[name], passes))
            for name in names
        ],
        gradients,
    )
    compiling = fit(
        [(steps[name], measured[name]["compiling"] - measured[name]["step"]) for name in names],
        COMPILING_SECONDS,
    )
    return {**gradients, **passes}, compiling


def price(quantities: Mapping[str, float], prices: Mapping[str, float]) -> float:
    """Returns the total price of quantities; those without a price are free."""
    return sum(amount * prices.get(name, 0.0) for name, amount in quantities.items())


def spread(ratios: Sequence[float]) -> Row:
    """Returns statistics of the relative errors from ratios predicted / measured."""
    errors = np.abs(np.array(ratios) - 1)
    return {
        "networks": len(ratios),
        "median_error": round(float(np.median(errors)), 3),
        "90th_percentile": round(float(np.quantile(errors, 0.9)), 3),
        "median_ratio": round(float(np.median(ratios)), 3),
    }
