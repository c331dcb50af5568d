"""The storage of studies, and the attributes stored with them."""

from typing import TYPE_CHECKING, Any

from search.storage.attributes import StudyAttribute, TrialAttribute

if TYPE_CHECKING:
    from search.storage.opening import (
        default_storage,
        open_storage,
        quiet_optuna,
        without_password,
    )

__all__ = [
    "StudyAttribute",
    "TrialAttribute",
    "default_storage",
    "open_storage",
    "quiet_optuna",
    "without_password",
]


def __getattr__(name: str) -> Any:
    # `python -m search.storage --help` imports this package; importing Optuna would slow it down.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from search.storage import opening

    return getattr(opening, name)
