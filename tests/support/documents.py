"""The documents, and what stands in them."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]


def name_of(page: Path) -> str:
    """Returns a page's path in the repository."""
    return str(page.relative_to(REPOSITORY))


def read(name: str) -> str:
    """Returns the text of a document."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Returns a page's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Returns a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Returns the code within the running text, each piece in one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]
