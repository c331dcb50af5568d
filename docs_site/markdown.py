"""Pieces of Markdown: tables, code and headings."""

import inspect
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table; cells are Markdown of one line."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code(text: object) -> str:
    """Returns a text as inline code; nothing for an empty text."""
    return f"`{text}`" if str(text) else ""


def codes(texts: Iterable[object]) -> str:
    """Returns texts as inline code, separated by commas."""
    return ", ".join(map(code, texts))


def block(text: str, language: str = "") -> str:
    """Returns a fenced block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```"


def page(title: str, *parts: str) -> str:
    """Returns a page of parts that are separated by empty lines."""
    return "\n\n".join([f"# {title}", *filter(None, parts)]) + "\n"


def documentation(documented: object) -> str:
    """Returns a docstring's paragraphs, without its sections of arguments and attributes."""
    text = inspect.getdoc(documented) or ""
    paragraphs = text.split("\n\n")
    kept = [each for each in paragraphs if not each.startswith(("Args:", "Attributes:"))]
    return "\n\n".join(kept)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
