"""Classification metrics computed from probabilities."""

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Metric: TypeAlias = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision", "loss"
]

# The Optuna direction of each metric.
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "balanced_accuracy": "maximize",
    "macro_f1": "maximize",
    "auc": "maximize",
    "average_precision": "maximize",
    "loss": "minimize",
}

# These sort the images by each class's probability, so they are computed only on request.
RANKING_METRICS: frozenset[str] = frozenset({"auc", "average_precision"})


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


def ranking_metrics(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]]
) -> dict[Metric, float]:
    """Computes the area under the ROC curve and average precision, one-vs-rest.

    `probabilities` is (N, C), `labels` (N,) with classes 0..C-1. Both are unweighted means over the
    classes that occur, also with two classes. They are NaN if only one class occurs or if a
    probability is not finite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    present = np.unique(labels)
    if len(present) < 2 or not np.isfinite(probabilities).all():
        return {"auc": float("nan"), "average_precision": float("nan")}
    truth = labels[:, None] == present
    scores = probabilities[:, present]
    return {
        "auc": float(roc_auc_score(truth, scores, average="macro")),
        "average_precision": float(average_precision_score(truth, scores, average="macro")),
    }
