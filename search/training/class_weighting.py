"""Which class weights a study trains with.

benchmarks/class_weights.py measures their effect: they worsen accuracy and loss, raise balanced
accuracy and macro F1, and hardly change AUC and average precision.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from search.data.balance import is_imbalanced
from search.data.types import Indices
from search.progress.words import metric_words

ClassWeights: TypeAlias = Literal["none", "square_root", "balanced"]

CHOICES = ("auto", "none", "square_root", "balanced")

# The weights that improve a metric most on classes of different sizes. None improve the others.
_BEST: Mapping[str, ClassWeights] = {"balanced_accuracy": "balanced", "macro_f1": "square_root"}


def choose_class_weights(
    choice: ClassWeights | Literal["auto"] | None, *, metric: str, counts: Indices
) -> tuple[ClassWeights | None, str]:
    """Returns the class weights for all candidates, and a sentence that explains them, or "".

    None means that each candidate keeps its own weights; a `choice` of None asks for that.
    `counts` (classes,) holds the number of training images per class. "auto" sets weights if the
    classes are imbalanced and the `metric` benefits.
    """
    if choice is None:
        return None, ""
    if choice != "auto":
        return choice, f"class weights: {_words(choice)}, as requested"
    if not is_imbalanced(counts):
        return None, ""
    best = _BEST.get(metric)
    if best is None:
        return None, (
            f"class weights: auto sets none, because weights do not improve "
            f"{metric_words(metric)}; --class-weights balanced finds more images of the small "
            f"classes, with more false alarms"
        )
    return best, (
        f"class weights: auto sets {_words(best)}, because the classes differ in size and weights "
        f"improve {metric_words(metric)}"
    )


def _words(weights: ClassWeights) -> str:
    return weights.replace("_", " ")
