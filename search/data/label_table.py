"""Reads tables of file names and labels, such as labels.csv."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cnn_blocks.errors import UserError
from search.data.delimited import read_lines
from search.data.label_columns import Lines, find_columns, is_header, names_labels
from search.data.names import enumerate_names
from search.data.roles import ROLE_WORDS

_TABLE_SUFFIXES = (".csv", ".tsv")
# Missing values as pandas, R, Excel and databases write them.
_NO_LABEL = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "null"})
_ONES = ("1", "1.0", "true")
_ZEROS = ("0", "0.0", "false")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Row:
    """One row of a table: a file and its label; `role` is None if the table gives none.

    `where` is the table and the line, such as labels.csv:3.
    """

    where: str
    file: str
    label: str
    role: str | None = None


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table; `header` is empty if it has none."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def names_labels(self) -> bool:
        """Whether the header says which column holds the labels."""
        return names_labels(self.header)


def is_table(name: str) -> bool:
    """Returns whether a file name has the suffix of a table."""
    return name.lower().endswith(_TABLE_SUFFIXES)


def read_table(
    content: bytes, place: str, is_file: Callable[[str], bool], known: Collection[str] = ()
) -> LabelTable:
    """Reads a table separated by commas, semicolons, tabs or spaces, with or without a header.

    `place` is the table's path in messages; `is_file` tells file names from headers; `known` holds
    the labels that the table must use, if they are known. Raises UserError if the columns of file
    names and labels cannot be identified.
    """
    lines = read_lines(content, place)
    header: tuple[str, ...] = ()
    if lines and is_header(lines[0][1], is_file):
        header = tuple(lines.pop(0)[1])
    if not lines:
        raise _no_rows(place)
    width = max(len(header), *(len(cells) for _, cells in lines))
    lines = [(line, [*cells, *[""] * (width - len(cells))]) for line, cells in lines]
    columns = find_columns(header, lines, is_file, known, place)
    file, label = columns.file, columns.label
    if label is None:
        return _read_one_hot(header, lines, file, place)
    name = PurePosixPath(place).name
    rows, unlabelled = [], Counter[str]()
    for line, cells in lines:
        if not cells[file]:
            continue
        if cells[label].lower() in _NO_LABEL:
            unlabelled[cells[label]] += 1
        else:
            role = None if columns.split is None else ROLE_WORDS[cells[columns.split].lower()]
            rows.append(Row(f"{name}:{line}", cells[file], cells[label], role))
    if not rows:
        raise _no_rows(place)
    notes = list(columns.notes)
    if unlabelled:
        written = enumerate_names(f"'{text}'" for text in unlabelled if text)
        notes.append(
            f"{unlabelled.total()} rows of {place} have no label{written and f' ({written})'} and "
            "were left out."
        )
    return LabelTable(header, tuple(_whole_numbers(rows)), tuple(notes))


def _read_one_hot(header: tuple[str, ...], lines: Lines, file: int, place: str) -> LabelTable:
    """Reads a one-hot table: one column of zeros and ones per class."""
    rows = []
    for line, cells in lines:
        if not cells[file]:
            continue
        pairs = enumerate(zip(header, cells, strict=False))
        others = [pair for number, pair in pairs if number != file]
        ones = [name for name, cell in others if cell.lower() in _ONES]
        zeros = sum(cell.lower() in _ZEROS for _, cell in others)
        if len(ones) != 1 or zeros != len(others) - 1:
            raise UserError(
                f"A label table needs a label column (such as 'label' or 'class'), or one column "
                f"per class with a single 1 and zeros in each row; line {line} of {place} has "
                f"neither (columns {enumerate_names(header, limit=10)}). Fix: rename the label "
                f"column."
            )
        rows.append(Row(f"{PurePosixPath(place).name}:{line}", cells[file], ones[0]))
    if not rows:
        raise _no_rows(place)
    return LabelTable(header, tuple(rows))


def _no_rows(place: str) -> UserError:
    return UserError(
        f"A label table needs rows with a file name and a label; {place} has none. Fix: add them."
    )


def _whole_numbers(rows: list[Row]) -> list[Row]:
    """Turns labels such as 1.0 into 1: pandas writes floats if the column has missing values."""
    if not all(row.label.removesuffix(".0").isdecimal() for row in rows):
        return rows
    return [replace(row, label=row.label.removesuffix(".0")) for row in rows]


def sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Returns class names sorted by value if all are numbers, otherwise as text."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))
