"""How much the classes of a data set differ in size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.data.names import shown
from search.data.types import Indices

# The largest class has so many times the images of the smallest.
NOTABLE_RATIO = 5.0


def is_imbalanced(counts: Indices) -> bool:
    """Says whether the classes that have images differ notably in size; `counts` is (classes,)."""
    present = counts[counts > 0]
    return bool(len(present) and present.max() >= NOTABLE_RATIO * present.min())


def imbalance_notes(counts: Indices, class_names: Sequence[str]) -> list[str]:
    """Says how large the largest and the smallest class are, where that differs notably."""
    if not is_imbalanced(counts):
        return []
    largest = int(counts.argmax())
    smallest = int(np.where(counts > 0, counts, counts.max()).argmin())
    total = counts.sum()
    return [
        f"The classes differ in size: '{shown(class_names[largest])}' has "
        f"{counts[largest] / total:.1%} of the images and '{shown(class_names[smallest])}' "
        f"{counts[smallest] / total:.1%}. Always answering '{shown(class_names[largest])}' would "
        f"be {counts[largest] / total:.1%} accurate, so accuracy says little; a search "
        f"with --metric balanced_accuracy, macro_f1, auc or average_precision counts every class "
        f"the same."
    ]
