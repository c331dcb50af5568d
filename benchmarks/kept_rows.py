"""The rows of a benchmark that is measured in parts: a JSON array with one line per row."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.system.files import write_text


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a file; none if the file does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def keep_row(path: Path, row: dict[str, Any], key: Sequence[str]) -> None:
    """Prints a row and adds it to the file; it replaces a row with the same `key` fields."""
    rows = [old for old in read_rows(path) if any(old.get(name) != row[name] for name in key)]
    lines = ",\n".join(json.dumps(kept) for kept in [*rows, row])
    write_text(path, f"[\n{lines}\n]\n")
    print(json.dumps(row), flush=True)
