"""Image files with their labels in a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cnn_blocks.errors import UserError
from search.data.file_index import FileIndex, folder_role
from search.data.label_table import LabelTable, Row, is_table, read_table, sorted_classes
from search.data.listing import Listing
from search.data.names import enumerate_names, shown
from search.data.roles import ROLES, name_words, plain_role, split_role
from search.data.tree import Node, Tree, join

_TABLE_FOLDERS = frozenset(
    {
        *("annotation", "annotations", "label", "labels", "truth", "groundtruth", "csv"),
        *("meta", "metadata", "splits"),
    }
)
MISSING = Node("", is_folder=False, size=-1, modified=-1)


@dataclass(frozen=True, eq=False)
class LabelledFiles:
    """A table with (row, path) per row; the path of a missing file is the name in the row."""

    tree: Tree
    table_path: str
    table: LabelTable
    index: FileIndex
    files: list[tuple[Row, str]]

    @property
    def found(self) -> int:
        """The number of rows whose file exists."""
        return sum(path in self.index.images for _, path in self.files)

    def agrees_with(self, listing: Listing) -> bool:
        """Returns whether labels and a listing's classes match one to one; names may differ."""
        classes = dict(zip(listing.paths, listing.labels, strict=True))
        pairs = {(classes[path], row.label) for row, path in self.files if path in classes}
        return len(pairs) == len({own for own, _ in pairs}) == len({label for _, label in pairs})

    @property
    def names_roles(self) -> bool:
        """Whether this table, or the tables next to it, assign images to roles."""
        return len({row.role for row, _ in self.files}) > 1

    @property
    def follows_folders(self) -> bool:
        """Whether every folder holds one label only, so that folders and labels agree."""
        labels = defaultdict(set)
        for row, path in self.files:
            labels[path.rpartition("/")[0]].add(row.label)
        return len(labels) > 1 and all(len(inside) == 1 for inside in labels.values())


def label_tables(tree: Tree) -> list[str]:
    """Returns the paths of tables that may hold labels, most likely first.

    They are in the root, in train/ or in folders such as annotations/.
    """
    places = ["", *filter(_may_hold_tables, tree.folders())]
    tables = [
        join(folder, node.name)
        for folder in places
        for node in tree.scan(folder)
        if not node.is_folder
        and is_label_table(node.name)
        and table_role(node.name) in ("train", None)
    ]
    return sorted(tables, key=_rank)


def is_a_guess(path: str) -> bool:
    """Returns whether nothing in a table's name says that it holds training labels."""
    return _rank(path)[:2] == (True, True)


def find_labelled_files(tree: Tree, tables: Sequence[str]) -> LabelledFiles:
    """Returns the labelled files of the table that names the most existing files.

    `tables` are the paths to try. Raises UserError if none can be used.
    """
    index = FileIndex(tree)
    results, errors = [], []
    for path in tables:
        try:
            results.append(resolve_table(tree, path, index))
        except UserError as error:
            errors.append(error)
    if not results:
        raise errors[0]
    return _with_other_roles(max(results, key=lambda result: result.found))


def list_labelled_files(labelled: LabelledFiles) -> Listing:
    """Lists the files of a table with their labels.

    A listed file that is missing counts as unreadable. Raises UserError if no file is found, a
    file has two labels or a class has no training row.
    """
    place = labelled.tree.place(labelled.table_path)
    if not labelled.found:
        example = labelled.table.rows[0].file
        beside = enumerate_names(labelled.index.images, limit=2) or "no image at all"
        raise UserError(
            f"A label table names images in its own folder or below; {place} names, for example, "
            f"'{shown(example)}', but the folder holds {beside}. Fix: put the images next to the "
            "table, or give the folder that holds both."
        )
    listing = Listing(notes=[_origin(labelled.table_path, labelled.table), *labelled.table.notes])
    roles: dict[str, dict[str, str]] = {role: {} for role in ROLES}
    for path, (role, label) in label_files(labelled, place, listing).items():
        roles[role][path] = label
    _check_roles(roles, place)
    listing.class_names = sorted_classes(set(roles["train"].values()))
    numbers = {name: number for number, name in enumerate(listing.class_names)}
    for role in ROLES:
        for path in sorted(roles[role], key=lambda path: (numbers[roles[role][path]], path)):
            node = labelled.index.images.get(path, MISSING)
            listing.add(path, node, numbers[roles[role][path]])
        if roles[role]:
            listing.counts[role] = len(roles[role])
    listing.notes.extend(_unlisted(labelled, listing.paths))
    return listing


def _may_hold_tables(folder: str) -> bool:
    return plain_role(folder) == "train" or not _TABLE_FOLDERS.isdisjoint(name_words(folder))


def _rank(path: str) -> tuple[bool, bool, str]:
    stem = PurePosixPath(path).stem.lower()
    return "label" not in stem, table_role(path) is None, path


def is_label_table(name: str) -> bool:
    """Returns whether a file name is that of a table, but not of a submission."""
    return is_table(name) and "submission" not in name.lower()


def table_role(path: str) -> str | None:
    """Returns the role in a table's name: train for train_labels.csv."""
    found = split_role(PurePosixPath(path).stem)
    return found[0] if found else None


def resolve_table(
    tree: Tree,
    path: str,
    index: FileIndex,
    role: str | None = None,
    known: Collection[str] = (),
) -> LabelledFiles:
    """Returns the files that a table names; `role` applies to rows that give none.

    `known` holds the labels that the table must use, if they are known. Raises UserError if the
    table cannot be read or a name in it matches several files.
    """

    def is_file(name: str) -> bool:
        return bool(index.find(name, role or "train"))

    place = tree.place(path)
    try:
        content = tree.read(path)
    except Exception as error:  # zipfile raises nearly anything on damaged content
        raise UserError(f"A label table must be readable; {place} is not ({error}).") from error
    table = read_table(content, place, is_file, known)
    files = []
    for row in table.rows:
        if role is not None and row.role is None:
            row = replace(row, role=role)
        found = index.find(row.file, row.role or "train")
        if len(found) > 1:
            raise UserError(
                f"Each name in a label table must match one file; '{shown(row.file)}' in "
                f"{row.where} may be {' or '.join(map(shown, found[:2]))}. Fix: add the path or "
                "the suffix, or remove one file."
            )
        files.append((row, found[0] if found else row.file))
    return LabelledFiles(tree, path, table, index, files)


def _with_other_roles(labelled: LabelledFiles) -> LabelledFiles:
    """Adds the rows of validation and test tables that use the same labels.

    These are val.csv and test.csv next to the table, or the tables in valid/ and test/ if the
    table is in train/.
    """
    tables = [labelled.table]
    files = list(labelled.files)
    known = {row.label for row in labelled.table.rows}
    for path, role in _tables_of_other_roles(labelled):
        try:
            other = resolve_table(labelled.tree, path, labelled.index, role, known)
        except UserError:
            continue  # such as Kaggle's test.csv, which has no labels
        is_like_it = other.table.header == labelled.table.header
        if other.found and (is_like_it or known.issuperset(row.label for row in other.table.rows)):
            tables.append(other.table)
            files.extend(other.files)
    notes = tuple(note for table in tables for note in table.notes)
    return replace(labelled, table=replace(labelled.table, notes=notes), files=files)


def _tables_of_other_roles(labelled: LabelledFiles) -> Iterator[tuple[str, str]]:
    tree, (folder, _, own) = labelled.tree, labelled.table_path.rpartition("/")
    for node in tree.scan(folder):
        role = table_role(node.name)
        if role in ("validation", "test") and node.name != own and is_label_table(node.name):
            yield join(folder, node.name), role
    if plain_role(folder) != "train":
        return
    for name in tree.folders():
        role = plain_role(name)
        if role in ("validation", "test"):
            for node in tree.scan(name):
                if is_label_table(node.name) and not node.is_folder:
                    yield join(name, node.name), role


def label_files(
    labelled: LabelledFiles, place: str, listing: Listing
) -> dict[str, tuple[str, str]]:
    """Returns (role, label) of each file; adds a note about repeated files to `listing`.

    Raises UserError if a file is listed twice with different roles or labels.
    """
    first: dict[str, tuple[Row, str]] = {}
    repeated, contradictions = 0, []
    for row, path in labelled.files:
        role = row.role or folder_role(path) or "train"
        if path not in first:
            first[path] = row, role
            continue
        repeated += 1
        other, other_role = first[path]
        if (other.label, other_role) != (row.label, role):
            contradictions.append(
                f"{path} is '{other.label}' in {other_role} ({other.where}) and "
                f"'{row.label}' in {role} ({row.where})"
            )
    if contradictions:
        raise UserError(
            f"Every image needs one label and one role; in {place}, "
            f"{enumerate_names(contradictions, limit=3)}. Fix: remove the wrong rows."
        )
    if repeated:
        listing.notes.append(f"{repeated} rows of {place} repeat an earlier one and count once.")
    return {path: (role, row.label) for path, (row, role) in first.items()}


def _check_roles(roles: dict[str, dict[str, str]], place: str) -> None:
    classes = {role: set(labels.values()) for role, labels in roles.items()}
    if len(classes["train"]) < 2:
        raise UserError(
            f"A classifier needs at least two classes; the training rows of {place} hold "
            f"{enumerate_names(sorted(classes['train'])) or 'none'}. Fix: add rows of other "
            "classes."
        )
    for role in ("validation", "test"):
        unknown = sorted(classes[role] - classes["train"])
        if unknown:
            raise UserError(
                f"Every class needs training images; {place} has '{shown(unknown[0])}' in {role} "
                "only. Fix: add training rows or remove the class."
            )


def _origin(path: str, table: LabelTable) -> str:
    columns = f" (columns {enumerate_names(table.header)})" if table.header else ""
    return f"The labels come from {shown(path)}{columns}."


def _unlisted(labelled: LabelledFiles, listed: Sequence[str]) -> list[str]:
    """Returns notes on images without a row: one for test/, one for the others."""
    unlisted = sorted(labelled.index.images.keys() - set(listed))
    test, others = [], unlisted
    if not any(folder_role(path) == "test" for path in listed):
        test = [path for path in unlisted if folder_role(path) == "test"]
        others = [path for path in unlisted if folder_role(path) != "test"]
    notes = []
    if test:
        folder = test[0].partition("/")[0]
        notes.append(f"{shown(folder)}/ was left out: {len(test)} images without labels.")
    if others:
        notes.append(
            f"{len(others)} images that {shown(labelled.table_path)} does not list were left out: "
            f"{enumerate_names(others)}."
        )
    return notes
