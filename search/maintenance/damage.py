"""What is wrong with a storage, and what can be done about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong, and the way out."""

    what: str
    fix: str


class DamagedStorageError(Exception):
    """A storage that must not be relied on; the command exits with code 1."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(f"{damage.what}. {damage.fix}.")
        self.damage = damage
