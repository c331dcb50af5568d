"""The note on class imbalance."""

import numpy as np

from search.data.balance import imbalance_notes, is_imbalanced


def test_a_note_gives_the_shares_of_the_largest_and_the_smallest_class() -> None:
    (note,) = imbalance_notes(np.array([290, 6, 0]), ["healthy", "sick", "unseen"])

    assert "'healthy' has 98.0% of the images and 'sick' 2.0%" in note
    assert "Always answering 'healthy' would be 98.0% accurate" in note


def test_classes_of_similar_sizes_get_no_note() -> None:
    assert imbalance_notes(np.array([40, 10, 25]), ["a", "b", "c"]) == []
    assert not is_imbalanced(np.array([0, 7, 0]))
    assert not is_imbalanced(np.array([0, 0]))
