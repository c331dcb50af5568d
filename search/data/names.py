"""Names of files and classes, as messages show them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from cnn_blocks.errors import UserError

_UNDECODABLE = range(0xDC80, 0xDD00)  # how Python keeps the bytes of names that are not UTF-8


def shown(name: str) -> str:
    """Returns a name with everything escaped that a terminal or a log cannot show."""
    return name if name.isprintable() else "".join(map(_escaped, name))


def enumerate_names(names: Iterable[str], *, limit: int = 5) -> str:
    """Returns the first names, escaped, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(shown, names[:limit])) + more


def class_name(folder: str, place: str) -> str:
    """Returns the class that a folder's name means: in NFC, whatever system wrote it.

    Raises UserError where the name is not UTF-8.
    """
    if any(ord(character) in _UNDECODABLE for character in folder):
        raise UserError(
            f"The name of a class folder must be UTF-8; {place} is not, probably because an old "
            "archive was unpacked. Rename the folder."
        )
    return unicodedata.normalize("NFC", folder)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if ord(character) in _UNDECODABLE:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
