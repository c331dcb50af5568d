"""The formats by their names on the command line, and the packages that they need."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnn_blocks.errors import UserError
from search.exports.formats import Format
from search.exports.keras_file import KERAS
from search.exports.litert import LITERT
from search.exports.onnx_file import ONNX
from search.exports.openvino_file import OPENVINO
from search.exports.saved_model import SAVED_MODEL

# By name, which is also the name of the extra if packages are needed.
FORMATS: dict[str, tuple[Format, ...]] = {
    "keras": (KERAS,),
    "saved_model": (SAVED_MODEL,),
    "onnx": (ONNX,),
    "litert": LITERT,
    "openvino": (OPENVINO,),
}


def chosen_formats(names: str) -> tuple[Format, ...]:
    """Returns the formats of a comma-separated list, in the order of `FORMATS`.

    Raises UserError for an unknown name, and if packages are missing.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in FORMATS:
            close = difflib.get_close_matches(name, FORMATS, n=1)
            fix = f" Fix: write {close[0]!r}." if close else ""
            raise UserError(f"--formats takes {', '.join(FORMATS)}; received {name!r}.{fix}")
    if not wanted:
        raise UserError(
            f"--formats takes {', '.join(FORMATS)}; received none. Fix: name at least one."
        )
    formats = tuple(one for name in FORMATS if name in wanted for one in FORMATS[name])
    require_packages({name: FORMATS[name][0].modules for name in FORMATS if name in wanted})
    _require_tensorflow(formats)
    return formats


def format_of(path: Path) -> str | None:
    """Returns the format of a file or folder that `export` wrote; None for others."""
    for name, formats in FORMATS.items():
        file = Path(formats[0].file)
        is_folder = len(file.parts) > 1 and (path / file.name).is_file()
        if path.suffix == file.suffix or is_folder:
            return name
    return None


def require_packages(modules: Mapping[str, Sequence[str]]) -> None:
    """Raises UserError if modules, listed by extra, cannot be imported."""
    missing = {
        extra: [name for name in names if not _is_importable(name)]
        for extra, names in modules.items()
    }
    missing = {extra: names for extra, names in missing.items() if names}
    if missing:
        listed = ", ".join(name for names in missing.values() for name in names)
        raise UserError(
            f"Packages for {', '.join(missing)} are not installed: {listed}. "
            f'Fix: pip install "cnn-search[{",".join(missing)}]".'
        )


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it is in sys.modules without a module spec
        return False


def _require_tensorflow(formats: Sequence[Format]) -> None:
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow" and any(one is not KERAS for one in formats):
        raise UserError(
            f"Formats other than keras are written with TensorFlow; KERAS_BACKEND is {backend!r}. "
            f"Fix: export with KERAS_BACKEND=tensorflow, which opens every model.keras."
        )
