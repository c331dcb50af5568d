"""Parses option values: durations, image sizes, sizes in bytes, shares."""

import re
from typing import Literal

from cnn_blocks.errors import UserError

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(?:I?B)?")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[hms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([hms])")


def parse_duration(text: str, *, option: str) -> float:
    """Parses a duration such as `40m`, `90s` or `1h30m` into seconds.

    Raises UserError, with the option's name, for anything else and for zero.
    """
    compact = "".join(text.lower().split())
    parts = _PART.findall(compact) if _DURATION.fullmatch(compact) else []
    units = [unit for _, unit in parts]
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds or len(units) != len(set(units)):
        raise UserError(
            f"{option} must be a duration in hours, minutes and seconds, such as 40m, 90s or "
            f"1h30m; received {text!r}."
        )
    return seconds


def parse_image_size(text: str, *, option: str) -> int | tuple[int, int]:
    """Parses `96` into pixels, and `96x128` into (height, width) in pixels.

    Raises UserError, with the option's name, for anything else.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text.strip().lower())
    if match is None:
        raise UserError(
            f"{option} must be a number of pixels, or height x width, such as 96 or 96x128; "
            f"received {text!r}."
        )
    height, width = match.groups()
    return int(height) if width is None else (int(height), int(width))


def parse_bytes(text: str, *, option: str) -> int:
    """Parses a size such as `20G`, `500M`, `1.5GiB` or `0` into bytes, with powers of 1024.

    Raises UserError, with the option's name, for anything else.
    """
    match = _SIZE.fullmatch("".join(text.upper().split()))
    if match is None:
        raise UserError(
            f"{option} must be a size with the unit K, M, G or T, such as 500M or 20G, or 0; "
            f"received {text!r}."
        )
    number, unit = match.groups()
    return int(float(number) * _BYTES[unit])


def parse_share(text: str, *, option: str) -> float:
    """Parses `2%` or `0.02` into a share in [0, 1].

    Raises UserError, with the option's name, for anything else.
    """
    stripped = text.strip()
    try:
        share = float(stripped.removesuffix("%")) / (100.0 if stripped.endswith("%") else 1.0)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise UserError(
            f"{option} must be a share between 0 and 1, such as 2% or 0.02; received {text!r}."
        )
    return share


def parse_workers(text: str, *, option: str) -> int | Literal["auto"]:
    """Parses a number of worker processes or "auto"."""
    if text == "auto":
        return "auto"
    if text.isdecimal() and text.isascii():
        return int(text)
    raise UserError(
        f"{option} must be a number of processes, 0 for none, or auto; received {text!r}."
    )
