"""The data sets of the class-weight benchmark."""

import numpy as np
import pytest

from benchmarks.class_weights import SETS, thin
from search.data import Subset


@pytest.mark.parametrize(
    ("name", "largest", "smallest", "classes"), [("95:5", 190, 10, 2), ("1:50", 200, 4, 10)]
)
def test_classes_are_thinned_to_their_proportions(
    name: str, largest: int, smallest: int, classes: int
) -> None:
    labels = np.repeat(np.arange(10), 300)
    subset = Subset(np.zeros((3000, 1, 1, 3), np.uint8), labels, np.arange(3000))

    counts = thin(subset, SETS[name], largest=largest, seed=0).class_counts(10)

    assert counts.max() == largest and counts[counts > 0].min() == smallest
    assert np.count_nonzero(counts) == classes
