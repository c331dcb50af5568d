"""The digits that scikit-learn ships, split like in a study."""

from pathlib import Path

import pytest

from search.data import Split, load_data, split_data


def digits_split(cache: Path) -> Split:
    """Returns the digits, split like in the studies of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_SEARCH_CACHE", str(cache))
        return split_data(load_data("digits"), seed=0)
