"""A .keras file that also contains the class names and the decoding of the images."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cnn_blocks.errors import UserError
from search.system.files import whole_file

if TYPE_CHECKING:
    import keras

    from search.data import Decoding

_CLASS_NAMES = "class_names.json"
_DECODING = "decoding.json"


@dataclass(frozen=True)
class ModelRecord:
    """The additional content of a .keras file; None for a part that is missing.

    `class_names` are in the order of the model's outputs.
    """

    class_names: tuple[str, ...] | None
    decoding: "Decoding | None"


def save_model(
    path: str | Path, model: "keras.Model", class_names: Sequence[str], decoding: "Decoding"
) -> None:
    """Saves a model as a .keras file that also contains its class names and decoding.

    Keras ignores the additional members, so `keras.models.load_model` opens the file anywhere.
    """
    with whole_file(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_CLASS_NAMES, json.dumps(list(class_names), ensure_ascii=False))
            archive.writestr(_DECODING, decoding.model_dump_json(indent=2))


def load_model(path: str | Path) -> "keras.Model":
    """Returns the model in a .keras file; raises UserError if Keras cannot open it."""
    from search.system.runtime import start_keras

    start_keras()
    import keras

    try:
        model: keras.Model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras may raise any exception for an unreadable file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"A model must be a .keras file that Keras can open; {path}: {reason} Fix: give the "
            f"model.keras of a run."
        ) from error
    return model


def read_record(path: str | Path) -> ModelRecord:
    """Returns the class names and the decoding in a .keras file.

    Raises UserError if the file is not a .keras file or has the decoding of a newer version.
    """
    from search.data import Decoding

    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            names = archive.read(_CLASS_NAMES) if _CLASS_NAMES in members else None
            text = archive.read(_DECODING) if _DECODING in members else None
            return ModelRecord(
                class_names=None if names is None else tuple(json.loads(names)),
                decoding=None if text is None else Decoding.model_validate_json(text),
            )
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise UserError(
            f"This version must support the decoding of a model's images; {path} has {place} = "
            f"{problem['input']!r}. Fix: use the version of cnn-search that trained the model."
        ) from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"A model must be a .keras file; {path}: {reason}. Fix: give the model.keras of a run."
        ) from error


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Returns the class names in a .keras file that `save_model` wrote."""
    names = read_record(path).class_names
    if names is None:
        raise UserError(
            f"Class names come from a .keras file that cnn-search exported; {path} has none. "
            f"Fix: give the model.keras of a run."
        )
    return names
