"""Feature tests need a whole split; the other training tests use two subsets of it."""

import pytest

from search.data import Split
from tests.support.digits import digits_split


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """The digits, split as the studies of these tests split them."""
    return digits_split(tmp_path_factory.mktemp("cache"))
