"""Imports run one way only, and what is slow to import waits until it is needed."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGES = ("cnn_blocks", "spaces", "studies", "search")  # each may import those to its left
HEAVY = {"jax", "keras", "keras_tuner", "matplotlib", "pandas", "scipy", "sklearn", "tensorflow"}
HEAVY |= {"ray", "tensorboard", "torch"}
HEAVY |= {"ai_edge_litert", "huggingface_hub", "onnx", "onnxruntime", "openvino", "tf2onnx"}
STUDY_MACHINERY = {"optuna", "optuna_dashboard", "keras_tuner"}
# These extend Keras' own classes, so they import it; they count as heavy themselves.
KERAS_SIDE = {"cnn_blocks.augmentation_policies"}
KERAS_SIDE |= {
    f"search.training.{name}"
    for name in ("callbacks", "muon", "network", "optimizers", "timed_steps")
}
KERAS_SIDE |= {"search.keras_tuner.our_space", "search.keras_tuner.parameters"}
# The rooms of `search`, bottom to top; those of one line stand beside each other. What
# `python -m search.NAME` starts imports the command line, and nothing imports it.
ROOMS = (
    ("errors",),
    ("system",),
    ("progress",),
    ("storage",),
    ("data",),
    ("training",),
    ("sizing",),
    ("results", "trials"),
    ("maintenance", "optimize"),
    ("engines", "report", "demo", "exports"),
    # The four stories; a dry run begins like a run.
    ("pipeline",),
    ("recipes", "configurations", "dry_run"),
    ("keras_tuner",),
    ("cli",),
)
STARTERS = {"search.__main__", "search.storage.__main__"}
STARTERS |= {f"search.{name}" for name in ("run", "list", "retrain", "export")}
REPOSITORY = Path(__file__).resolve().parent.parent
MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def test_every_package_has_modules() -> None:
    assert {_package(_name(path)) for path in MODULES} == set(PACKAGES)


def _name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


every_module = pytest.mark.parametrize("path", MODULES, ids=_name)


@every_module
def test_imports_only_to_the_left(path: Path) -> None:
    package = _package(_name(path))
    to_the_right = {*PACKAGES[PACKAGES.index(package) + 1 :], "tests", "benchmarks"}

    # Imports for type checkers count as well: whoever reads the file has to follow them.
    assert [name for name in _imported(_parse(path)) if _package(name) in to_the_right] == []


@pytest.mark.parametrize("path", [p for p in MODULES if "search" in p.parts], ids=_name)
def test_rooms_import_only_what_is_below(path: Path) -> None:
    name = _name(path)
    imported = {other for other in _imported(_parse(path)) if other.startswith("search.")}
    if name == "search" or name in STARTERS:
        return
    floor, room = _room(name)
    above = {
        other
        for other in imported
        if other in STARTERS or (_room(other) != (floor, room) and _room(other)[0] >= floor)
    }

    assert above == set()


def test_every_room_is_there() -> None:
    names = {_name(path) for path in MODULES} - STARTERS
    rooms = {name.split(".")[1] for name in names if name.startswith("search.")}

    assert rooms == {room for floor in ROOMS for room in floor}


def test_no_two_files_import_each_other() -> None:
    names = {_name(path) for path in MODULES}
    graph = {
        _name(path): {name for name in _imported(_parse(path)) if name in names} for path in MODULES
    }
    # An import of a name out of a module is one of the module, not of its package.
    for name, imported in graph.items():
        imported -= {name, *(other.rpartition(".")[0] for other in imported)}

    TopologicalSorter(graph).prepare()


@every_module
def test_heavy_libraries_are_not_imported_with_the_module(path: Path) -> None:
    if _name(path) in KERAS_SIDE:
        return
    at_import = set(_imported(_parse(path), run_at_import=True))

    assert {name for name in at_import if _package(name) in HEAVY or name in KERAS_SIDE} == set()


def test_the_modules_beside_keras_exist() -> None:
    assert set(map(_name, MODULES)) >= KERAS_SIDE


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "cnn_blocks" in path.parts], ids=_name
)
def test_networks_never_touch_the_study_machinery(path: Path) -> None:
    machinery = {name for name in _imported(_parse(path)) if _package(name) in STUDY_MACHINERY}

    assert {name for name in machinery if not name.startswith("optuna.distributions")} == set()


def test_the_reader_of_imports_sees_each_kind() -> None:
    tree = ast.parse(
        "import search.run\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    import keras\n"
        "try:\n"
        "    from sklearn import metrics\n"
        "except ImportError:\n"
        "    pass\n"
        "class Late:\n"
        "    import matplotlib\n"
        "    def method(self):\n"
        "        from tensorflow import data\n"
    )

    everything = set(_imported(tree))
    assert {"search.run", "keras", "sklearn.metrics", "matplotlib", "tensorflow.data"} <= everything
    at_import = set(_imported(tree, run_at_import=True))
    assert {"search.run", "sklearn.metrics", "matplotlib"} <= at_import
    assert at_import.isdisjoint({"keras", "tensorflow", "tensorflow.data"})


def test_no_package_hides_a_standard_module() -> None:
    assert set(PACKAGES).isdisjoint(sys.stdlib_module_names)


def _room(name: str) -> tuple[int, str]:
    """Returns the floor and the name of a module's room."""
    room = name.split(".")[1]
    return next((floor, room) for floor, rooms in enumerate(ROOMS) if room in rooms)


def _package(name: str) -> str:
    return name.partition(".")[0]


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _imported(node: ast.AST, *, run_at_import: bool = False) -> Iterator[str]:
    """Yields the full name of everything that is imported below a node."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports are not used here"
        assert node.module is not None
        yield node.module
        # A module may be among the imported names, as in `from search import pipeline`.
        yield from (f"{node.module}.{name.name}" for name in node.names)
    for child in ast.iter_child_nodes(node):
        if run_at_import and _waits(child):
            continue
        yield from _imported(child, run_at_import=run_at_import)


def _waits(node: ast.AST) -> bool:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
