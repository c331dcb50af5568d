"""The finished rows: a JSON array with one line per row, written atomically after each row."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison.curve import Curve
from benchmarks.comparison.works import METHODS, WORKS
from search.system.files import write_text


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one method on one work with one seed.

    `given_seconds` is the time budget, `seconds` the time used. `curve` holds the improvements of
    the best validation accuracy as (seconds, value). `test_accuracy` is the winner's accuracy on
    `test_images` images. `machine` is the machine and its state.
    """

    work: str
    method: str
    seed: int
    given_seconds: float
    seconds: float
    test_accuracy: float
    test_images: int
    curve: Curve
    winner: str
    command: str
    machine: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies the row."""
        return self.work, self.method, self.seed


def read_rows(path: Path) -> list[Row]:
    """Returns the rows of a file; none if the file does not exist."""
    if not path.exists():
        return []
    rows = []
    for fields in json.loads(path.read_text(encoding="utf-8")):
        points: Curve = [(seconds, value) for seconds, value in fields.pop("curve")]
        rows.append(Row(**fields, curve=points))
    return rows


def write_row(path: Path, row: Row) -> None:
    """Adds a row to the file atomically; it replaces an older one with the same key."""
    others = [other for other in read_rows(path) if other.key != row.key]
    lines = [json.dumps(asdict(each)) for each in sorted([*others, row], key=_position)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def of_work(rows: Iterable[Row], work: str) -> dict[str, list[Row]]:
    """Returns the rows of a work by method."""
    chosen: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if row.work == work), key=_position):
        chosen.setdefault(row.method, []).append(row)
    return chosen


def _position(row: Row) -> tuple[int, int, int]:
    names = [work.name for work in WORKS]
    return names.index(row.work), METHODS.index(row.method), row.seed
