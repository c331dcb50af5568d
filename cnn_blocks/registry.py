"""Registered components: looked up by `kind`, a name that derives from the class."""

import difflib
import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path

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
            f"{_origin(component)} defines another one. Rename one of the two classes."
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
    """Returns the class registered under a kind; an unknown one raises with the closest match."""
    known = components(role)
    if kind in known:
        return known[kind]
    close = difflib.get_close_matches(kind, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UserError(
        f"A {role} must be one of {', '.join(map(repr, known))}, or come from a file that the "
        f"configuration names under `components`; received {kind!r}{hint}"
    )


def load_source(reference: str | Path, *, text: str | None = None) -> ModuleType:
    """Imports a user's Python file (`path/to/file.py`) or module (`package.module`), once.

    `text` is what the file says on the machine where it is; it need not exist on this one.
    Raises UserError when there is no such file or module, and for an error inside the file.
    """
    named = str(reference)
    if not named.endswith(".py"):
        try:
            return importlib.import_module(named)
        except ModuleNotFoundError as error:
            raise UserError(
                f"Components must come from an importable module or a .py file; there is no module "
                f"{named!r} ({error}). Install it, or run from the folder that holds it."
            ) from error
    path = user_path(named).resolve()
    name = f"cnn_search_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    loaded = sys.modules.get(name)
    needs_file = text is None and not isinstance(getattr(loaded, "__loader__", None), _TextLoader)
    if needs_file and not path.is_file():
        raise UserError(f"Components must come from a file that exists; there is no {path}.")
    if loaded is not None:
        return loaded
    loader = None if text is None else _TextLoader(path, text)
    specification = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise _explained(path, error) from error
    return module


def _explained(path: Path, error: Exception) -> UserError:
    place, line, text = str(path), None, " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        place, line, text = error.filename or place, error.lineno, error.msg
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == place:
            line = frame.lineno
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False)
        text = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
    return UserError(
        f"A Python file of yours must be one that can be imported; {place}"
        f"{'' if line is None else f', line {line}'}: {type(error).__name__}: {text}. Mend it, "
        f"then run the command again."
    )


class _TextLoader(importlib.abc.ExecutionLoader):
    """Imports a module from its text as if it stood in a file."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_source(self, fullname: str) -> str:
        return self._text


def source_of(component: type[Any]) -> str | None:
    """Returns where a user's component comes from (a file or a module); None for our own."""
    if component.__module__.startswith("cnn_blocks."):
        return None
    return _origin(component)[0]


def _origin(component: type[Any]) -> tuple[str, str]:
    module = component.__module__
    if module.startswith("cnn_search_user_") or module == "__main__":
        try:
            return inspect.getsourcefile(component) or module, component.__qualname__
        except OSError:  # typed at a prompt: there is no file
            return module, component.__qualname__
    return module, component.__qualname__
