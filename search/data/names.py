"""Names of files and classes: as messages show them, and what they mean."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from cnn_blocks.errors import UserError
from search.system.names import decoded, is_text
from search.system.names import shown as shown


def enumerate_names(names: Iterable[str], *, limit: int = 5) -> str:
    """Returns the first names, escaped, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(shown, names[:limit])) + more


def class_name(folder: str, place: str) -> str:
    """Returns the class that a folder's name means: in NFC, whatever system wrote it.

    Raises UserError where the name is not UTF-8.
    """
    name = decoded(folder)
    if not is_text(name):
        raise UserError(
            f"The name of a class folder must be UTF-8; {place} is not, probably because an old "
            "archive was unpacked. Rename the folder."
        )
    return unicodedata.normalize("NFC", name)
