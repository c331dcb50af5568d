"""Classification metrics from probabilities, as all the baselines report them."""

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Metric: TypeAlias = Literal["accuracy", "balanced_accuracy", "macro_f1", "loss"]

# Which way an Optuna study optimises each metric.
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "balanced_accuracy": "maximize",
    "macro_f1": "maximize",
    "loss": "minimize",
}


def classification_metrics(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]]
) -> dict[Metric, float]:
    """Computes accuracy, balanced accuracy, macro F1 and cross-entropy.

    `probabilities` is (N, C), `labels` (N,) with classes 0..C-1. Balanced accuracy averages recall
    over the classes that occur; a class that neither occurs nor is predicted is left out of F1.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2)
    confusion = confusion.reshape(classes, classes)
    hits, actual, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * hits[actual + claimed > 0] / (actual + claimed)[actual + claimed > 0]
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": float(hits.sum() / len(labels)),
        "balanced_accuracy": float((hits[actual > 0] / actual[actual > 0]).mean()),
        "macro_f1": float(f1.mean()),
        "loss": float(np.abs(np.log(np.clip(chosen, 1e-7, 1.0))).mean()),  # never -0.0
    }
