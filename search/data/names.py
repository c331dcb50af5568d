"""Names of files and classes, as messages show them."""

from __future__ import annotations

from collections.abc import Iterable


def enumerate_names(names: Iterable[str], *, limit: int = 5) -> str:
    """Returns the first names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
