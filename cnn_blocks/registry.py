"""The registry of components, looked up by `kind`, a name derived from the class name."""

import difflib
import importlib
import inspect
import pkgutil
import re
from typing import Any, TypeVar

from cnn_blocks.errors import UserError
from cnn_blocks.source_files import is_own_file

ROLES = ("block", "head", "backbone")
_PACKAGES = {role: f"cnn_blocks.{role}s" for role in ROLES}
_Component = TypeVar("_Component", bound=type[Any])
_registered: dict[str, dict[str, type[Any]]] = {role: {} for role in ROLES}


def _register(role: str, component: _Component) -> _Component:
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", component.__name__).lower()
    known = _registered[role].get(kind)
    if known is not None and _origin(known) != _origin(component):
        raise UserError(
            f"A {role} named {kind!r} is already registered from {_origin(known)}; "
            f"{_origin(component)} defines another one. Fix: rename one of the two classes."
        )
    component.kind = kind
    _registered[role][kind] = component
    return component


def block(component: _Component) -> _Component:
    """Registers a searchable block under its class name in snake case."""
    return _register("block", component)


def head(component: _Component) -> _Component:
    """Registers a classifier head under its class name in snake case."""
    return _register("head", component)


def backbone(component: _Component) -> _Component:
    """Registers a backbone under its class name in snake case."""
    return _register("backbone", component)


def components(role: str) -> dict[str, type[Any]]:
    """Returns the registered classes of a role ("block", "head" or "backbone") by kind."""
    package = importlib.import_module(_PACKAGES[role])
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{_PACKAGES[role]}.{module.name}")
    return dict(sorted(_registered[role].items()))


def find(role: str, kind: str) -> type[Any]:
    """Returns the class registered under a kind.

    Raises UserError for an unknown kind, and suggests the closest match.
    """
    known = components(role)
    if kind in known:
        return known[kind]
    close = difflib.get_close_matches(kind, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UserError(
        f"A {role} must be one of {', '.join(map(repr, known))}, or come from a file listed under "
        f"`components` in the configuration; received {kind!r}{hint}"
    )


def source_of(component: type[Any]) -> str | None:
    """Returns the file or module of a user-written component; None for built-in ones."""
    if component.__module__.startswith("cnn_blocks."):
        return None
    return _origin(component)[0]


def _origin(component: type[Any]) -> tuple[str, str]:
    module = component.__module__
    if is_own_file(module) or module == "__main__":
        try:
            return inspect.getsourcefile(component) or module, component.__qualname__
        except OSError:  # defined at a prompt: there is no file
            return module, component.__qualname__
    return module, component.__qualname__
