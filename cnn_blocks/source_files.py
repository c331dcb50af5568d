"""Imports users' Python files once, with the modules in their folder, from disk or from text."""

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path

_PREFIX = "cnn_search_user_"
# In a checkout these packages may be next to a study's file, but they belong to the program.
_PROGRAM = {"cnn_blocks", "spaces", "studies", "search"}
_folders: set[Path] = set()
_appended: set[str] = set()


def load_source(reference: str | Path, *, texts: Mapping[str, str] | None = None) -> ModuleType:
    """Imports a user's Python file (`path/to/file.py`) or module (`package.module`), once.

    The file may import the modules in its own folder. `texts` holds, by path, the source text of
    the file and of those modules (`source_texts`), which then need not exist on this machine.
    Raises UserError if there is no such file or module, and for an error inside the file.
    """
    named = str(reference)
    if not named.endswith(".py"):
        try:
            return importlib.import_module(named)
        except ModuleNotFoundError as error:
            raise UserError(
                f"Components must come from an importable module or a .py file; there is no module "
                f"{named!r} ({error}). Fix: install it, or run from the folder that contains it."
            ) from error
    path = user_path(named).resolve()
    text = None if texts is None else texts.get(named)
    name = f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    loaded = sys.modules.get(name)
    needs_file = text is None and not isinstance(getattr(loaded, "__loader__", None), _TextLoader)
    if needs_file and not path.is_file():
        raise UserError(f"Components must come from an existing file; there is no {path}.")
    if loaded is not None:
        return loaded
    loader = None if text is None else _TextLoader(path, text)
    specification = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    if texts is not None:
        sys.meta_path.insert(0, _TextFinder(path.parent, texts))
    try:
        with _importable(path.parent):
            specification.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise _explained(path, error) from error
    return module


def source_texts(reference: str) -> dict[str, str]:
    """Returns, by path, the source text of a loaded file and of the modules in its folder."""
    folder = Path(reference).parent
    files = [
        str(module.__file__)
        for name, module in list(sys.modules.items())
        if _folder_of(name, module) == folder
    ]
    return {file: Path(file).read_text(encoding="utf-8") for file in [reference, *files]}


def is_own_file(module: str) -> bool:
    """Returns whether a module is a user's loaded file, or comes from the folder of one."""
    return module.startswith(_PREFIX) or _folder_of(module, sys.modules.get(module)) in _folders


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Makes the modules in a folder importable: first on the path in the block, last after it.

    First, because Python finds the modules next to a script that way. Last, because functions may
    import later, but must not shadow other modules.
    """
    _forget_namesakes(folder)
    _folders.add(folder)
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            # Before the folders of other files: the latest file is the one in use.
            places = [sys.path.index(other) for other in _appended if other in sys.path]
            sys.path.insert(min(places, default=len(sys.path)), str(folder))
            _appended.add(str(folder))


def _forget_namesakes(folder: Path) -> None:
    """Unloads modules found next to other files whose names also exist in this folder."""
    for name, module in list(sys.modules.items()):
        first = name.partition(".")[0]
        if _folder_of(name, module) in _folders - {folder} and (
            (folder / f"{first}.py").is_file() or (folder / first).is_dir()
        ):
            del sys.modules[name]


def _folder_of(name: str, module: ModuleType | None) -> Path | None:
    """Returns the folder on the path from which a module was imported; None for the program's."""
    file, parts = getattr(module, "__file__", None), name.split(".")
    if file is None or parts[0] in _PROGRAM:
        return None
    path = Path(file)
    path = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return path.parents[len(parts) - 1] if list(path.parts[-len(parts) :]) == parts else None


def _explained(path: Path, error: Exception) -> UserError:
    place, line, text = str(path), None, " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        place, line, text = error.filename or place, error.lineno, error.msg
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).parent == path.parent:  # the file itself, or one next to it
            place, line = frame.filename, frame.lineno
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False)
        text = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
    return UserError(
        f"Your Python file must be importable; {place}"
        f"{'' if line is None else f', line {line}'}: {type(error).__name__}: {text}. Fix: correct "
        f"it, then run the command again."
    )


class _TextLoader(importlib.abc.ExecutionLoader):
    """Imports a module from its text as if the text were in a file."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_source(self, fullname: str) -> str:
        return self._text

    def is_package(self, fullname: str) -> bool:
        return self._path.name == "__init__.py"


class _TextFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of a folder in their source texts instead of on this machine."""

    def __init__(self, folder: Path, texts: Mapping[str, str]) -> None:
        self._folder = folder
        self._texts = texts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        place = self._folder.joinpath(*fullname.split("."))
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if str(file) in self._texts:
                loader = _TextLoader(file, self._texts[str(file)])
                return importlib.util.spec_from_file_location(fullname, file, loader=loader)
        if any(Path(text).is_relative_to(place) for text in self._texts):
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        return None
