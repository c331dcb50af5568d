"""Damage of a storage, with its fix."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """One kind of damage and its fix."""

    what: str
    fix: str


class DamagedStorageError(Exception):
    """The storage is damaged; the command exits with code 1."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(f"{damage.what}. Fix: {damage.fix}.")
        self.damage = damage
