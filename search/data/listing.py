"""The files of a data set in a fixed order, with their labels and roles."""

from __future__ import annotations

from dataclasses import dataclass, field

from search.data.tree import Node


@dataclass
class Listing:
    """The files of a data set, sorted by role, class and path.

    `paths` are relative to the root; `modified` changes when a file does; `counts` is the number of
    files per role. `from_tables` holds the roles with a label table instead of class folders.
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
