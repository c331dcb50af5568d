"""What the packages offer by name is there, is no module's name, and costs nothing until used."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cnn_blocks
import search
import spaces
import studies

PACKAGES = [cnn_blocks, spaces, studies]  # tests/search/test_public_names.py has those of search
every_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)


@every_package
def test_public_names_are_there(package: ModuleType) -> None:
    assert sorted(set(package.__all__)) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("package", [*PACKAGES, search], ids=lambda package: package.__name__)
def test_no_public_name_is_that_of_a_module(package: ModuleType) -> None:
    # An imported module becomes an attribute of its package, and would hide the name.
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}

    assert modules.isdisjoint(package.__all__)


@every_package
def test_an_unknown_name_is_told(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'nothing'"):
        _ = package.nothing


def test_a_name_is_what_its_module_defines() -> None:
    from cnn_blocks.blocks.plain import Plain
    from spaces.suggest import suggest
    from studies.study import StudySpec

    assert cnn_blocks.Plain is Plain
    assert spaces.suggest_component is suggest
    assert studies.StudySpec is StudySpec
    assert importlib.import_module("spaces.suggest").suggest is suggest


def test_a_studys_file_needs_two_packages() -> None:
    assert set(studies.__all__) == {*spaces.__all__, "StudySpec"}
    assert all(getattr(studies, name) is getattr(spaces, name) for name in spaces.__all__)


def test_importing_the_packages_imports_no_library(repository: Path) -> None:
    code = (
        "import sys, cnn_blocks, spaces, studies, search\n"
        "print(sorted({'keras', 'optuna', 'pydantic', 'numpy', 'tensorflow'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
