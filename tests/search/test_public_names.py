"""What `import search` offers."""

import pytest

import search


@pytest.mark.parametrize("name", search.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(search, name).__doc__


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        search.nothing  # noqa: B018
