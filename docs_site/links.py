"""Redirects the links of the documents, which are written for a reader of the repository."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

_FENCED = re.compile(r"(^```.*?^```$)", flags=re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def redirected(
    markdown: str,
    *,
    source: str,
    target: str,
    repository: Path,
    address: str,
    pages: Mapping[str, str],
) -> str:
    """Returns a document whose links work on the site.

    `source` is the document's path in the repository and `target` its page's path on the site.
    `pages` maps documents to the paths of their pages; a link to another file of the repository
    becomes a link to `address`. A link to a missing file stays as it is: the build reports it.
    """

    def redirect(match: re.Match[str]) -> str:
        link = match[1]
        place, mark, anchor = link.partition("#")
        if not place or re.match(r"[a-z]+:", link):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
        if path in pages:
            relative = posixpath.relpath(pages[path], posixpath.dirname(target) or ".")
            return f"]({relative}{mark}{anchor})"
        if not (repository / path).exists():
            return match[0]
        kind = "tree" if (repository / path).is_dir() else "blob"
        return f"]({address}/{kind}/main/{path}{mark}{anchor})"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(redirect, part) for part in parts)
