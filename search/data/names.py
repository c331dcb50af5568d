"""Names of files and classes: their form in messages, and the classes they denote."""

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
    """Returns the first names, escaped, followed by the number of the others."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(shown, names[:limit])) + more


def class_name(folder: str, place: str) -> str:
    """Returns the class name of a folder, in NFC whichever system created it.

    Raises UserError if the name is not UTF-8.
    """
    name = decoded(folder)
    if not is_text(name):
        raise UserError(
            f"The name of a class folder must be UTF-8; {place} is not, probably because it comes "
            "from an old archive. Fix: rename the folder."
        )
    return unicodedata.normalize("NFC", name)


def class_name_notes(names: Iterable[str]) -> list[str]:
    """Returns notes on classes that are probably the same class, or combine several labels."""
    names = list(names)
    notes = []
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings[" ".join(name.casefold().split())].append(f"'{name}'")
    alike = [" and ".join(same) for same in spellings.values() if len(same) > 1]
    if alike:
        notes.append(f"Some classes differ only in case or spaces: {enumerate_names(alike)}.")
    known = set(names)
    combined = [f"'{name}'" for name in names if _combines(name, known)]
    if combined:
        notes.append(
            "Each combination of labels is a separate class: "
            f"{enumerate_names(combined)}. These models predict one label per image."
        )
    return notes


def _combines(name: str, known: set[str]) -> bool:
    parts = [part for part in _BETWEEN_LABELS.split(name) if part]
    return len(parts) > 1 and known.issuperset(parts)
