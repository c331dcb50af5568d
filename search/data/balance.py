"""Class imbalance of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.data.names import shown
from search.data.types import Indices

# Ratio of the largest class to the smallest from which users are told.
NOTABLE_RATIO = 5.0


def is_imbalanced(counts: Indices) -> bool:
    """Returns whether the non-empty classes differ notably in size; `counts` is (classes,)."""
    present = counts[counts > 0]
    return bool(len(present) and present.max() >= NOTABLE_RATIO * present.min())


def imbalance_notes(counts: Indices, class_names: Sequence[str]) -> list[str]:
    """Returns a note on the largest and the smallest class if they differ notably in size."""
    if not is_imbalanced(counts):
        return []
    largest = int(counts.argmax())
    smallest = int(np.where(counts > 0, counts, counts.max()).argmin())
    total = counts.sum()
    return [
        f"The classes differ in size: '{shown(class_names[largest])}' has "
        f"{counts[largest] / total:.1%} of the images and '{shown(class_names[smallest])}' "
        f"{counts[smallest] / total:.1%}. Always answering '{shown(class_names[largest])}' would "
        f"be {counts[largest] / total:.1%} accurate, so accuracy says little; "
        f"--metric balanced_accuracy, macro_f1, auc or average_precision weights all classes "
        f"equally."
    ]
