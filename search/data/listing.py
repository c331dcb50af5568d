"""The files of a data set in a fixed order, with their labels and roles."""

from __future__ import annotations

from dataclasses import dataclass, field

from search.data.tree import Node


@dataclass
class Listing:
    """The files of a data set by role, class, path.

    `paths` are relative to the root; `modified` changes with a file; `counts` says how many files
    each role has. `from_tables` are the roles that have no class folders but a table of labels.
    """

    class_names: tuple[str, ...] = ()
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    modified: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    from_tables: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, path: str, node: Node, label: int) -> None:
        """Appends a file."""
        self.paths.append(path)
        self.sizes.append(node.size)
        self.modified.append(node.modified)
        self.labels.append(label)
