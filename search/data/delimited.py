"""Reads the lines of a text table in the variants of CSV that common programs write."""

from __future__ import annotations

import csv
import io
import re
import unicodedata

from cnn_blocks.errors import UserError

_DELIMITERS = ",;\t"
# Excel's `sep=;`, or a comment line.
_PREAMBLE = re.compile(r"\s*(?:sep=(.)\s*|#[^,;\t\r\n]*)(?:\r\n|\r|\n)", re.IGNORECASE)


def read_lines(content: bytes, place: str) -> list[tuple[int, list[str]]]:
    """Returns (line number, stripped cells) of every non-blank line.

    Cells are separated by commas, semicolons or tabs, otherwise by spaces. `place` is the table's
    path in messages. Raises UserError if the content is not such a table in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:  # UTF-16 without a byte order mark
            raise UnicodeDecodeError("utf-8", content, content.index(0), 1, "null byte")
        skipped, delimiter = 0, None
        while preamble := _PREAMBLE.match(text):
            delimiter = delimiter or preamble[1]
            skipped += len(preamble[0].splitlines())
            text = text[preamble.end() :]
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=delimiter or _delimiter(text),
            skipinitialspace=True,
        )
        # NFC, as for class folders: labels that look the same are one class.
        return [
            (
                skipped + reader.line_num,
                [unicodedata.normalize("NFC", cell.strip()) for cell in cells],
            )
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except UnicodeDecodeError as error:
        raise UserError(
            f"A label table must be UTF-8 text; {place} is not ({error.reason} at byte "
            f"{error.start}). Fix: save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise UserError(
            f"A label table has one file name and one label per line; {place} cannot be read "
            f"({error}). Fix: save it again as CSV."
        ) from error


def _delimiter(text: str) -> str:
    first = (text.lstrip().splitlines() or [""])[0]
    delimiter = max(_DELIMITERS, key=first.count)
    return delimiter if delimiter in first else " "
