"""Finds the columns of a table that hold file names, labels and roles."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cnn_blocks.errors import UserError
from search.data.formats import is_image
from search.data.names import enumerate_names, shown
from search.data.roles import ROLE_WORDS

Lines = list[tuple[int, list[str]]]

# Column names without case and punctuation; the earliest one in this list wins.
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
    "dx",
    "findinglabel",
    "tag",
    "labelid",
    "classid",
    "categoryid",
)
_SPLIT_COLUMNS = ("split", "set", "subset", "partition", "dataset", "datasplit", "usage")
_PIXELS = re.compile(r"pixels|pixel[\W_]*\d+", re.IGNORECASE)
_MANY_COLUMNS = 64
_SAMPLED_LINES = 20


@dataclass(frozen=True)
class Columns:
    """Column numbers; `label` is None for one-hot tables, `split` if no column holds roles."""

    file: int
    label: int | None
    split: int | None
    notes: tuple[str, ...] = ()


def is_header(cells: list[str], is_file: Callable[[str], bool]) -> bool:
    """Returns whether a table's first line names its columns."""
    if any(map(is_image, cells)):
        return False
    known = [_column((cell,), _FILE_COLUMNS + _LABEL_COLUMNS) is not None for cell in cells]
    if is_file(cells[0]):
        return len(cells) > 1 and all(known)
    return any(known) or not any(map(is_file, cells))


def find_columns(
    header: tuple[str, ...],
    lines: Lines,
    is_file: Callable[[str], bool],
    known: Collection[str],
    place: str,
) -> Columns:
    """Finds the columns from the header, which may be empty, and from the lines.

    All lines have the same number of cells. `known` holds the labels, if they are known.
    Raises UserError if the columns cannot be identified.
    """
    if not header:
        return _by_content(lines, is_file, known, place)
    width = len(lines[0][1])
    named = _columns(header, _FILE_COLUMNS)
    with_files = [
        column
        for column in named
        if any(is_file(cells[column]) for _, cells in lines[:_SAMPLED_LINES])
    ]
    # A column 'image' may hold URLs while 'id' holds the file names.
    file = next(iter([*with_files, *named]), None)
    label = _column(header, _LABEL_COLUMNS)
    split = _column(header, _SPLIT_COLUMNS)
    if width == 2:
        if file is None:
            file = 0 if label is None else 1 - label
        if label is None and split == 1 - file:
            raise UserError(
                f"A label table needs a label column; {place} has {' and '.join(header)}. "
                "Fix: add the labels."
            )
        return Columns(file, 1 - file, None)
    if file is None:
        raise _no_file_column(header, width, place)
    if label is None:
        label = _only_column(lines, {file, split}, known)
    split, notes = _check_split(split, header, lines, place)
    return Columns(file, label, split, tuple(notes))


def _by_content(
    lines: Lines, is_file: Callable[[str], bool], known: Collection[str], place: str
) -> Columns:
    width = len(lines[0][1])
    file = next(
        number for number, cell in enumerate(lines[0][1]) if is_image(cell) or is_file(cell)
    )
    if width == 2:
        return Columns(file, 1 - file, None)
    roles = [
        number
        for number in range(width)
        if all(cells[number].lower() in ROLE_WORDS for _, cells in lines)
    ]
    split = roles[0] if roles else None
    others = [number for number in range(width) if number not in (file, split)]
    label = others[0] if len(others) == 1 else _only_column(lines, {file, split}, known)
    if label is None:
        raise UserError(
            f"A label table without a header has a file name column, a label column and optionally "
            f"a role column; {place} has {width} columns. Fix: add a header such as file,label."
        )
    return Columns(file, label, split)


def _only_column(lines: Lines, taken: set[int | None], known: Collection[str]) -> int | None:
    """Returns the column that holds only known labels; None if there is not exactly one."""
    columns = [
        number
        for number in range(len(lines[0][1]))
        if number not in taken and all(cells[number] in known for _, cells in lines)
    ]
    return columns[0] if len(columns) == 1 else None


def _no_file_column(header: tuple[str, ...], width: int, place: str) -> UserError:
    if width > _MANY_COLUMNS or any(map(_PIXELS.fullmatch, header)):
        return UserError(
            f"A label table names image files; {place} holds pixels in {width} columns. Fix: "
            "convert it with table = numpy.loadtxt(FILE, delimiter=',', skiprows=1), then "
            "numpy.savez('data.npz', x_train=table[:, 1:].reshape(-1, 28, 28), "
            "y_train=table[:, 0].astype(int)), adapted to its columns and image size."
        )
    if width == 1:
        return UserError(
            f"A label table has file names and labels in columns; {place} has one column, "
            f"'{shown(header[0])}'. Fix: separate them with commas, semicolons or tabs."
        )
    return UserError(
        f"A label table needs a file name column (such as 'file', 'image' or 'id') and a label "
        f"column (such as 'label' or 'class'); {place} has columns "
        f"{enumerate_names(header, limit=10)}. Fix: rename two of them."
    )


def names_labels(header: tuple[str, ...]) -> bool:
    """Returns whether a header says which column holds the labels."""
    return _column(header, _LABEL_COLUMNS) is not None


def _column(header: tuple[str, ...], spellings: tuple[str, ...]) -> int | None:
    return next(iter(_columns(header, spellings)), None)


def _columns(header: tuple[str, ...], spellings: tuple[str, ...]) -> list[int]:
    """Returns the columns with these names or their plurals, in the order of `spellings`."""
    squeezed = ["".join(filter(str.isalnum, name.lower())) for name in header]
    singular = [name.removesuffix("s") for name in squeezed]
    return [
        names.index(spelling)
        for spelling in spellings
        for names in (squeezed, singular)
        if spelling in names
    ]


def _check_split(
    column: int | None, header: tuple[str, ...], lines: Lines, place: str
) -> tuple[int | None, list[str]]:
    """Returns the column if it holds roles, and a note if it does not."""
    if column is None:
        return None, []
    values = Counter(cells[column].lower() for _, cells in lines)
    unknown = [f"'{value}'" for value in values if value not in ROLE_WORDS]
    if not unknown:
        return column, []
    if len(unknown) == len(values):
        return None, [
            f"Column '{header[column]}' of {place} was ignored because its values are not roles: "
            f"{enumerate_names(unknown)}."
        ]
    raise UserError(
        f"Column '{header[column]}' of a label table must be train, val or test in every row; "
        f"{place} also has {enumerate_names(unknown)}. Fix: correct these rows."
    )
