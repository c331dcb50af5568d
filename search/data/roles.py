"""The roles train, validation and test, and their spellings in data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable

ROLES = ("train", "validation", "test")
ROLE_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_NEUTRAL = frozenset(
    {
        *("set", "sets", "data", "dataset", "split", "folder", "dir", "samples"),
        *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"),
    }
)
# Between punctuation, camelCase, letters and digits.
_BETWEEN_WORDS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])|(?<=\D)(?=\d)|(?<=\d)(?=\D)")


def split_role(name: str) -> tuple[str, str] | None:
    """Returns the role in a name and the rest of the name; None if the name has no role.

    Neutral words and numbers do not count as rest: it is empty for Training_Set, testImages and
    val2017, "seg" for seg_train and "bullet" for bullet-train.
    """
    words = [part for word in name_words(name) for part in _parted(word)]
    roles = {ROLE_WORDS[word] for word in words if word in ROLE_WORDS}
    if len(roles) != 1:
        return None
    rest = (word for word in words if word not in ROLE_WORDS and word not in _NEUTRAL)
    return roles.pop(), "_".join(word for word in rest if not word.isdigit())


def name_words(name: str) -> list[str]:
    """Returns the words of a name in lower case: x and train for x_train and X-Train."""
    return [word.lower() for word in _BETWEEN_WORDS.split(name) if word]


def plain_role(name: str) -> str | None:
    """Returns the role of a name that contains nothing else, otherwise None."""
    found = split_role(name)
    return found[0] if found is not None and not found[1] else None


def find_roles(names: Iterable[str]) -> dict[str, str]:
    """Returns the roles of the sibling folders that are named after a role.

    Any other word in the name must occur with a second role: seg_train next to seg_test counts,
    bullet_train next to cars does not. If a folder is called train, train_images is not a role.
    """
    spelled = {name: found for name in names if (found := split_role(name)) is not None}
    roles = {
        name: role
        for name, (role, rest) in spelled.items()
        if not rest or any(r != role and other == rest for r, other in spelled.values())
    }
    exact = {role for name, role in roles.items() if name.lower() in ROLE_WORDS}
    return {
        name: role
        for name, role in roles.items()
        if name.lower() in ROLE_WORDS or role not in exact
    }


def _parted(word: str) -> list[str]:
    """Splits a compound such as trainset."""
    for role in sorted(ROLE_WORDS, key=len, reverse=True):
        rest = word.removeprefix(role)
        if rest != word and rest in _NEUTRAL:
            return [role, rest]
    return [word]
