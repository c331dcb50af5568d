"""Loads a HyperModel by name, from an installed package or the user's own file."""

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from cnn_blocks.source_files import load_source

# Arguments of a HyperModel's constructor whose values come from the data.
_FROM_DATA = ("input_shape", "classes", "num_classes")


def resolve(reference: str) -> str:
    """Returns a reference; a file in it gets its absolute path.

    Raises UserError unless it has the form `package.module.Name`, or `path/to/file.py:Name` with an
    existing file.
    """
    place, name = _parts(reference)
    if not place.endswith(".py"):
        return reference
    path = user_path(place).resolve()
    return f"{_first_file(path)}:{name}"


def load_hypermodel(reference: str) -> Callable[[tuple[int, ...], int], Any]:
    """Returns (image shape, classes) -> `keras_tuner.HyperModel`.

    The reference names a HyperModel class, an instance, or a function `build(hp)`. A class gets
    `input_shape` and `classes` (or `num_classes`) if its constructor has them. A missing file is
    also searched for in the current folder.
    Raises UserError if there is no such file, module or name, or if the object is of another kind.
    """
    import keras_tuner
    from keras_tuner.src.engine.hypermodel import get_hypermodel

    place, name = _parts(reference)
    if place.endswith(".py"):
        path = user_path(place)
        place = str(_first_file(path, Path(path.name)))
    module = load_source(place)
    found = getattr(module, name, None)
    if found is None:
        close = difflib.get_close_matches(name, dir(module), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(f"A HyperModel must exist; {place} has no {name!r}.{hint}")
    if inspect.isclass(found) and issubclass(found, keras_tuner.HyperModel):
        return lambda image_shape, classes: _instantiate(found, image_shape, classes)
    if isinstance(found, keras_tuner.HyperModel) or inspect.isfunction(found):
        return lambda image_shape, classes: get_hypermodel(found)
    raise UserError(
        f"A HyperModel must be a subclass of keras_tuner.HyperModel, an instance of one, or a "
        f"function build(hp); {reference} is {type(found).__name__!r}."
    )


def _parts(reference: str) -> tuple[str, str]:
    place, colon, name = reference.rpartition(":")
    if not colon:
        place, _, name = reference.rpartition(".")
    in_file = place.endswith(".py")
    if not place or not name.isidentifier() or name == "py" or bool(colon) != in_file:
        raise UserError(
            f"A HyperModel must be named as package.module.Name or path/to/file.py:Name; received "
            f"{reference!r}."
        )
    return place, name


def _first_file(*paths: Path) -> Path:
    for path in paths:
        if path.is_file():
            return path
    raise UserError(
        f"A HyperModel's file must exist; there is no {' and no '.join(map(str, paths))}."
    )


def _instantiate(hypermodel: Any, image_shape: tuple[int, ...], classes: int) -> Any:
    values = dict(zip(_FROM_DATA, (image_shape, classes, classes), strict=True))
    accepted = inspect.signature(hypermodel.__init__).parameters
    try:
        return hypermodel(**{name: values[name] for name in _FROM_DATA if name in accepted})
    except TypeError as error:
        raise UserError(
            f"A HyperModel's constructor must need no arguments but {', '.join(_FROM_DATA)}; "
            f"{hypermodel.__name__}: {error}. Fix: give an instance or a function build(hp) "
            f"instead."
        ) from error
