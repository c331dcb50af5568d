"""The public names of `search`."""

import pytest

import search


@pytest.mark.parametrize("name", search.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(search, name).__doc__


def test_an_unknown_name_raises_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        search.nothing  # noqa: B018
