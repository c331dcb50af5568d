"""Train, validation and test, in the spellings that archives use."""

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
    """Returns the role that a name spells and the rest of the name; None without a role.

    Neutral words and numbers are no rest: Training_Set, testImages and val2017 have none, and
    that of seg_train and bullet-train is seg and bullet.
    """
    words = [part for word in name_words(name) for part in _parted(word)]
    roles = {ROLE_WORDS[word] for word in words if word in ROLE_WORDS}
    if len(roles) != 1:
        return None
    rest = (word for word in words if word not in ROLE_WORDS and word not in _NEUTRAL)
    return roles.pop(), "_".join(word for word in rest if not word.isdigit())


def name_words(name: str) -> list[str]:
    """Returns the words of a name in lower case: x and train of x_train and X-Train."""
    return [word.lower() for word in _BETWEEN_WORDS.split(name) if word]


def plain_role(name: str) -> str | None:
    """Returns the role of a name that says nothing else."""
    found = split_role(name)
    return found[0] if found is not None and not found[1] else None


def find_roles(names: Iterable[str]) -> dict[str, str]:
    """Returns the roles of those folders beside each other that are named for one.

    A rest such as a data set's name must come with two roles: seg_train beside seg_test, but not
    bullet_train beside cars. Where a folder is called train, train_images beside it is no role.
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
    """Parts a word such as trainset."""
    for role in sorted(ROLE_WORDS, key=len, reverse=True):
        rest = word.removeprefix(role)
        if rest != word and rest in _NEUTRAL:
            return [role, rest]
    return [word]
