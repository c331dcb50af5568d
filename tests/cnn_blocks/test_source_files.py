"""Users' files: imported once, with the modules next to them, also on another machine."""

import importlib.util
import sys
from pathlib import Path

import pytest

from cnn_blocks import registry
from cnn_blocks.errors import UserError
from cnn_blocks.source_files import load_source, source_texts

pytestmark = pytest.mark.usefixtures("forgets_components")

BLOCK = """
from cnn_blocks.config import Block
from cnn_blocks.layers import convolve
from cnn_blocks.registry import block

@block
class {name}(Block):
    '''A convolution.'''

    def __call__(self, x, *, reduction="none"):
        return convolve(x, self.filters, reduction=reduction)
"""


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    for folder, name in (("a", "FromFolderA"), ("b", "FromFolderB")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_block.py").write_text(BLOCK.format(name=name))
        load_source(tmp_path / folder / "my_block.py")

    assert {"from_folder_a", "from_folder_b"} <= set(registry.components("block"))


def test_a_missing_file_and_a_missing_module_say_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*absent\.py"):
        load_source(tmp_path / "absent.py")
    with pytest.raises(UserError, match="there is no module 'my_block_absent'"):
        load_source("my_block_absent")


def test_a_file_of_another_machine_is_imported_from_its_text(tmp_path: Path) -> None:
    file = tmp_path / "my_block.py"

    module = load_source(file, texts={str(file): BLOCK.format(name="FromText")})

    assert not file.exists()
    assert module.FromText.kind == "from_text"
    assert registry.find("block", "from_text") is module.FromText
    # The reference stored with a candidate is the file's original path.
    assert registry.source_of(module.FromText) == str(file)
    assert load_source(file) is module


def test_a_file_that_fails_is_not_kept_half_imported(tmp_path: Path) -> None:
    file = tmp_path / "my_block.py"
    file.write_text("raise RuntimeError('half')")
    with pytest.raises(UserError, match="half"):
        load_source(file)

    file.write_text(BLOCK.format(name="Mended"))

    assert load_source(file).Mended.kind == "mended"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import os\nx = = 1", "line 2: SyntaxError: invalid syntax"),
        ("\n\nundefined", "line 3: NameError: name 'undefined' is not defined"),
        ("def fail():\n    raise OSError('two\\nlines')\nfail()", "line 2: OSError: two lines"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "from cnn_blocks.blocks.plain import Plain\nPlain(filters=-1)",
            "line 2: ValidationError: filters: Input should be greater than 0",
        ),
        ("a\0b", "SyntaxError: source code string cannot contain null bytes"),
    ],
    ids=["syntax", "name", "in a call", "import", "configuration", "no line"],
)
def test_an_error_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "my_block.py"
    file.write_text(text)

    with pytest.raises(UserError) as raised:
        load_source(file)

    assert f"{file}" in str(raised.value)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_imports_the_modules_beside_it_and_only_its_own(tmp_path: Path) -> None:
    for folder, width in (("a", 8), ("b", 16)):
        (tmp_path / folder / "my_parts").mkdir(parents=True)
        (tmp_path / folder / "my_widths.py").write_text(f"WIDTH = {width}")
        (tmp_path / folder / "my_parts" / "__init__.py").write_text("from my_widths import WIDTH")
        (tmp_path / folder / "my_late.py").write_text(f"WIDTH = {2 * width}")
        (tmp_path / folder / "my_study.py").write_text(
            "import my_parts\nfrom my_widths import WIDTH\nassert WIDTH == my_parts.WIDTH\n"
            "def later():\n    import my_late\n    return my_late.WIDTH\n"
        )

    first, second = (load_source(tmp_path / folder / "my_study.py") for folder in "ab")

    assert (first.WIDTH, second.WIDTH) == (8, 16)
    assert second.later() == 32


def test_neighbours_shadow_nothing_that_is_imported_later(tmp_path: Path) -> None:
    (tmp_path / "this.py").write_text('raise AssertionError("shadowed")')
    (tmp_path / "my_study.py").write_text("x = 1")

    load_source(tmp_path / "my_study.py")

    found = importlib.util.find_spec("this")
    assert found is not None
    assert found.origin != str(tmp_path / "this.py")
    assert str(tmp_path) not in sys.path[:1]


def test_an_error_in_a_neighbour_names_the_neighbour(tmp_path: Path) -> None:
    (tmp_path / "my_widths.py").write_text("\nundefined")
    (tmp_path / "my_study.py").write_text("import my_widths")

    with pytest.raises(UserError, match=r"my_widths\.py, line 2: NameError"):
        load_source(tmp_path / "my_study.py")


def test_a_component_of_a_neighbour_is_stored_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "my_blocks.py").write_text(BLOCK.format(name="FromNeighbour"))
    (tmp_path / "my_study.py").write_text("from my_blocks import FromNeighbour")

    module = load_source(tmp_path / "my_study.py")

    assert registry.source_of(module.FromNeighbour) == str(tmp_path / "my_blocks.py")
    load_source(tmp_path / "my_blocks.py")  # the same class again, not another one with that name


def test_neighbours_reach_a_machine_that_has_none_of_the_files(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "my_parts" / "inner").mkdir(parents=True)
    (here / "my_parts" / "inner" / "deep.py").write_text("from . import __name__ as name")
    (here / "my_widths.py").write_text("WIDTH = 8")
    (here / "my_study.py").write_text(
        "from my_parts.inner import deep\nfrom my_widths import WIDTH\nname = deep.name"
    )
    load_source(here / "my_study.py")

    texts = source_texts(str(here / "my_study.py"))

    assert {Path(file).name for file in texts} == {"my_study.py", "my_widths.py", "deep.py"}
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]
    moved = {file.replace(str(here), str(there)): text for file, text in texts.items()}
    module = load_source(there / "my_study.py", texts=moved)
    assert (module.WIDTH, module.name) == (8, "my_parts.inner")
