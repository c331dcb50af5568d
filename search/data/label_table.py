"""Tables of file names and labels: labels.csv and its relatives."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cnn_blocks.errors import UserError
from search.data.names import enumerate_names
from search.data.roles import ROLE_WORDS

# Spellings without case and punctuation; of several columns, the earliest here counts.
_FILE_COLUMNS = (
    "file",
    "filename",
    "filepath",
    "path",
    "imagepath",
    "imgpath",
    "imagefile",
    "imagefilename",
    "imagename",
    "imgname",
    "image",
    "images",
    "img",
    "imageid",
    "imgid",
    "imageindex",
    "photo",
    "picture",
    "id",
)
_LABEL_COLUMNS = (
    "label",
    "labels",
    "labelname",
    "class",
    "classes",
    "classname",
    "category",
    "categoryname",
    "target",
    "breed",
    "species",
    "diagnosis",
    "tag",
    "labelid",
    "classid",
    "categoryid",
)
_SPLIT_COLUMNS = ("split", "set", "subset", "partition", "dataset", "datasplit")
_TABLE_SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t"
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Row:
    """A file's label; `role` is None where the table does not say.

    `where` names the table and the line, as in labels.csv:3.
    """

    where: str
    file: str
    label: str
    role: str | None = None


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table; `header` is empty where it has none."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def is_table(name: str) -> bool:
    """Returns whether a file's name is that of a table."""
    return name.lower().endswith(_TABLE_SUFFIXES)


def read_table(content: bytes, place: str, is_file: Callable[[str], bool]) -> LabelTable:
    """Reads a table with commas, semicolons or tabs, with or without a header.

    `place` is the table's path in messages; `is_file` tells a file name from a header.
    Raises UserError where the columns of file names and labels cannot be told.
    """
    lines = _read_lines(content, place)
    header: tuple[str, ...] = ()
    if lines and not is_file(lines[0][1][0]):
        header = tuple(lines.pop(0)[1])
    if not lines:
        raise _no_rows(place)
    width = max(len(header), *(len(cells) for _, cells in lines))
    lines = [(line, [*cells, *[""] * (width - len(cells))]) for line, cells in lines]
    file, label = _find_columns(header, width, place)
    if label is None:
        return _read_one_hot(header, lines, file, place)
    split, notes = _split_column(header, lines, place)
    name = PurePosixPath(place).name
    rows, unlabelled = [], 0
    for line, cells in lines:
        if not cells[file]:
            continue
        if cells[label]:
            role = None if split is None else ROLE_WORDS[cells[split].lower()]
            rows.append(Row(f"{name}:{line}", cells[file], cells[label], role))
        else:
            unlabelled += 1
    if not rows:
        raise _no_rows(place)
    if unlabelled:
        notes.append(f"{unlabelled} rows of {place} have no label and were left out.")
    return LabelTable(header, tuple(_whole_numbers(rows)), tuple(notes))


def _read_lines(content: bytes, place: str) -> list[tuple[int, list[str]]]:
    """Returns (line number, stripped cells) of every line that is not blank."""
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:  # UTF-16 without a mark
            raise UnicodeDecodeError("utf-8", content, content.index(0), 1, "null byte")
        first = text.lstrip().split("\n", 1)[0]
        delimiter = max(_DELIMITERS, key=first.count)
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
        )
        # In NFC, as the names of class folders: equal to the eye is one class.
        return [
            (reader.line_num, [unicodedata.normalize("NFC", cell.strip()) for cell in cells])
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except UnicodeDecodeError as error:
        raise UserError(
            f"A label table must be text in UTF-8; {place} is not ({error.reason} at byte "
            f"{error.start}). Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise UserError(
            f"A label table has one file name and one label a line; {place} cannot be read "
            f"({error}). Write it again as CSV."
        ) from error


def _find_columns(header: tuple[str, ...], width: int, place: str) -> tuple[int, int | None]:
    """Returns the column of file names and that of labels, None for one column a class."""
    file = _column(header, _FILE_COLUMNS)
    label = _column(header, _LABEL_COLUMNS)
    if width == 2:
        if file is None:
            file = 0 if label is None else 1 - label
        return file, 1 - file
    if file is None or (label is None and width < 3):
        columns = f"columns {enumerate_names(header, limit=10)}" if header else f"{width} columns"
        raise UserError(
            f"A label table has a column of file names (such as 'file', 'image' or 'id') and one "
            f"of labels (such as 'label' or 'class'); {place} has {columns}. Rename two of them."
        )
    return file, label


def _column(header: tuple[str, ...], spellings: tuple[str, ...]) -> int | None:
    squeezed = ["".join(filter(str.isalnum, name.lower())) for name in header]
    return next((squeezed.index(name) for name in spellings if name in squeezed), None)


def _split_column(
    header: tuple[str, ...], lines: list[tuple[int, list[str]]], place: str
) -> tuple[int | None, list[str]]:
    column = _column(header, _SPLIT_COLUMNS)
    if column is None:
        return None, []
    values = Counter(cells[column].lower() for _, cells in lines)
    unknown = [f"'{value}'" for value in values if value not in ROLE_WORDS]
    if not unknown:
        return column, []
    if len(unknown) == len(values):
        return None, [
            f"Column '{header[column]}' of {place} names no roles and was ignored: "
            f"{enumerate_names(unknown)}."
        ]
    raise UserError(
        f"Column '{header[column]}' of a label table says train, val or test in every row; {place} "
        f"holds {enumerate_names(unknown)} too. Correct these rows."
    )


def _read_one_hot(
    header: tuple[str, ...], lines: list[tuple[int, list[str]]], file: int, place: str
) -> LabelTable:
    """Reads a table that has a column of zeros and ones for each class."""
    rows = []
    for line, cells in lines:
        if not cells[file]:
            continue
        pairs = enumerate(zip(header, cells, strict=False))
        others = [pair for number, pair in pairs if number != file]
        ones = [name for name, cell in others if cell in ("1", "1.0")]
        zeros = sum(cell in ("0", "0.0") for _, cell in others)
        if len(ones) != 1 or zeros != len(others) - 1:
            raise UserError(
                f"A label table has a column of labels (such as 'label' or 'class'), or a column a "
                f"class with one 1 and zeros in each row; line {line} of {place} has neither "
                f"(columns {enumerate_names(header, limit=10)}). Rename the column of labels."
            )
        rows.append(Row(f"{PurePosixPath(place).name}:{line}", cells[file], ones[0]))
    if not rows:
        raise _no_rows(place)
    return LabelTable(header, tuple(rows))


def _no_rows(place: str) -> UserError:
    return UserError(
        f"A label table needs rows of file name and label; {place} has none. Add them."
    )


def _whole_numbers(rows: list[Row]) -> list[Row]:
    """Turns labels 1.0 into 1: pandas writes so where a label of the column is missing."""
    if not all(row.label.removesuffix(".0").isdecimal() for row in rows):
        return rows
    return [replace(row, label=row.label.removesuffix(".0")) for row in rows]


def sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Returns class names in order: by value where all are numbers, otherwise as text."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))
