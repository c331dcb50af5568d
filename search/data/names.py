"""Names of files and classes: as messages show them, and what they mean."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from cnn_blocks.errors import UserError
from search.system.names import decoded, is_text
from search.system.names import shown as shown

_BETWEEN_LABELS = re.compile(r"[\s|,;]+")


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


def class_name_notes(names: Iterable[str]) -> list[str]:
    """Returns notes on classes that are probably one class, or several labels at once."""
    names = list(names)
    notes = []
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings[" ".join(name.casefold().split())].append(f"'{name}'")
    alike = [" and ".join(same) for same in spellings.values() if len(same) > 1]
    if alike:
        notes.append(f"Classes differ in case or spaces only: {enumerate_names(alike)}.")
    known = set(names)
    combined = [f"'{name}'" for name in names if _combines(name, known)]
    if combined:
        notes.append(
            "Each combination of labels counts as a class of its own: "
            f"{enumerate_names(combined)}. Models here give one label an image."
        )
    return notes


def _combines(name: str, known: set[str]) -> bool:
    parts = [part for part in _BETWEEN_LABELS.split(name) if part]
    return len(parts) > 1 and known.issuperset(parts)
