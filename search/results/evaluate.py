"""Evaluates a trained model on one share of the images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

    from search.data import Subset

# Images decoded into memory at a time; the model processes them in smaller batches.
_CHUNK = 4096


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class or of an average; `support` counts its images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's scores on a subset, and its prediction for every image of that subset.

    `confusion_matrix` counts images, with true classes in rows and predicted classes in columns.
    `labels`, `predictions` (class indices) and `confidences` are in the subset's order. `auc` and
    `average_precision` are one-vs-rest means over the classes that occur; NaN if only one occurs.
    """

    images: int
    loss: float
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    auc: float
    average_precision: float
    per_class: tuple[ClassScores, ...]
    macro_average: ClassScores
    weighted_average: ClassScores
    confusion_matrix: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float32]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the model's outputs."""
        return tuple(scores.name for scores in self.per_class)

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """The classes without images."""
        return tuple(scores.name for scores in self.per_class if not scores.support)

    @property
    def commonest_class(self) -> str:
        """The class with the most images."""
        return max(self.per_class, key=lambda scores: scores.support).name

    @property
    def majority_accuracy(self) -> float:
        """The accuracy of predicting the commonest class for every image."""
        return max(scores.support for scores in self.per_class) / self.images

    def metrics(self) -> dict[str, Any]:
        """Returns every score as plain data, ready for JSON."""
        return {
            "images": self.images,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "auc": self.auc,
            "average_precision": self.average_precision,
            "majority_baseline": {
                "class": self.commonest_class,
                "accuracy": self.majority_accuracy,
            },
            "absent_classes": list(self.absent_classes),
            "per_class": [asdict(scores) for scores in self.per_class],
            "macro_average": asdict(self.macro_average),
            "weighted_average": asdict(self.weighted_average),
            "confusion_matrix": self.confusion_matrix.tolist(),
        }

    @classmethod
    def from_metrics(cls, stored: Mapping[str, Any]) -> "Evaluation":
        """Rebuilds an evaluation from `metrics()`, without the predictions for single images."""
        names = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision")
        # JSON has no NaN.
        scores = {name: math.nan if stored[name] is None else stored[name] for name in names}
        none = np.empty(0, dtype=np.int64)
        return cls(
            images=stored["images"],
            **scores,
            per_class=tuple(ClassScores(**row) for row in stored["per_class"]),
            macro_average=ClassScores(**stored["macro_average"]),
            weighted_average=ClassScores(**stored["weighted_average"]),
            confusion_matrix=np.array(stored["confusion_matrix"], dtype=np.int64),
            labels=none,
            predictions=none,
            confidences=np.empty(0, dtype=np.float32),
        )


def evaluate(
    model: "keras.Model", subset: "Subset", class_names: Sequence[str], *, batch_size: int = 256
) -> Evaluation:
    """Scores a model on a subset, as `score` does."""
    probabilities, labels = predict(model, subset, batch_size=batch_size)
    return score(probabilities, labels, class_names)


def score(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    class_names: Sequence[str],
) -> Evaluation:
    """Scores probabilities (N, classes) for images with true labels (N,).

    Macro averages include the classes that occur or are predicted, balanced accuracy those that
    occur. A score with a denominator of zero is zero.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    from search.training.metrics import classification_metrics, ranking_metrics

    predictions = probabilities.argmax(axis=1)
    classes = range(len(class_names))
    present = np.union1d(labels, predictions)

    def averages(name: str) -> ClassScores:
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, predictions, labels=present, average=name, zero_division=0
        )
        return ClassScores(
            f"{name} average", float(precision), float(recall), float(f1), len(labels)
        )

    columns = precision_recall_fscore_support(
        labels, predictions, labels=classes, average=None, zero_division=0
    )
    scores = classification_metrics(probabilities, labels) | ranking_metrics(probabilities, labels)
    return Evaluation(
        images=len(labels),
        loss=scores["loss"],
        accuracy=scores["accuracy"],
        balanced_accuracy=scores["balanced_accuracy"],
        macro_f1=scores["macro_f1"],
        auc=scores["auc"],
        average_precision=scores["average_precision"],
        per_class=tuple(
            ClassScores(name, float(precision), float(recall), float(f1), int(support))
            for name, precision, recall, f1, support in zip(class_names, *columns, strict=True)
        ),
        macro_average=averages("macro"),
        weighted_average=averages("weighted"),
        confusion_matrix=confusion_matrix(labels, predictions, labels=classes),
        labels=labels,
        predictions=predictions,
        confidences=probabilities.max(axis=1),
    )


def predict(
    model: "keras.Model", subset: "Subset", *, batch_size: int = 256
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Returns a model's probabilities (N, classes) and the true labels (N,) in a subset's order."""
    from search.training.prediction import predict_in_batches, prediction_batch_of

    batch_size = min(batch_size, prediction_batch_of(model))
    probabilities, labels = [], []
    for start in range(0, len(subset), _CHUNK):
        images, chunk_labels = subset.gather(np.arange(start, min(start + _CHUNK, len(subset))))
        probabilities.append(predict_in_batches(model, images, batch_size=batch_size))
        labels.append(chunk_labels)
    return np.concatenate(probabilities), np.concatenate(labels)
