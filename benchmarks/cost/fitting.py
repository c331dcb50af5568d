"""Fits the coefficients of `search/sizing/coefficients.py` to measured seconds."""

from collections.abc import Mapping, Sequence

import numpy as np

# What an observation says of a coefficient counts more than so much of a deviation from before.
_PRIOR_WEIGHT = 0.02
# Squares would let a few networks that no formula fits decide.
_ROUNDS = 12
_LEAST_RESIDUAL = 0.03


def fit(
    observations: Sequence[tuple[Mapping[str, float], float]], prior: Mapping[str, float]
) -> dict[str, float]:
    """Returns the price of each quantity, none negative, that best explains measured totals.

    `observations` are (quantities, total). The relative errors are made small, nearly their sum
    and not their squares'; `prior` decides where the observations say little.
    """
    from scipy.optimize import nnls

    names = [name for name in prior if any(amounts.get(name) for amounts, _ in observations)]
    # Everything is counted in parts of what was measured and of what was known before.
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
