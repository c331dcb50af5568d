"""Converts external names to text that can be displayed and stored."""

import re
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s/]+@")
_UNDECODABLE = range(0xDC80, 0xDD00)  # how Python keeps the bytes of names that are not UTF-8


def shown(name: str) -> str:
    """Returns a name with all unprintable characters escaped, for terminals, logs and figures."""
    return name if name.isprintable() else "".join(map(_escaped, name))


def spreadsheet_cell(value: Any) -> Any:
    """Returns a value for a CSV cell that no spreadsheet takes for a formula.

    Text that begins like a formula gets an apostrophe in front, which spreadsheets hide; numbers
    stay as they are, also as text.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def without_passwords(text: str) -> str:
    """Returns text with the passwords of URLs replaced by asterisks."""
    return _PASSWORD.sub(r"\1:***@", text)


def decoded(name: str) -> str:
    """Returns a file name with its bytes decoded as UTF-8.

    If the file system's encoding is ASCII, Python represents other bytes as surrogates. Bytes that
    are not UTF-8 remain surrogates.
    """
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # another lone surrogate, which Windows allows
        return name


def is_text(name: str) -> bool:
    """Returns whether a name can be stored in UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if ord(character) in _UNDECODABLE:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
