"""The registry: names derive from classes, doubles raise, a user's file is found again."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnn_blocks import registry
from cnn_blocks.config import Block, ModelConfig
from cnn_blocks.errors import UserError

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


@pytest.fixture(autouse=True)
def _forget_what_a_test_registers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for role in registry.ROLES:
        registry.components(role)
    copies = {role: dict(known) for role, known in registry._registered.items()}
    monkeypatch.setattr(registry, "_registered", copies)
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith(("cnn_search_user_", "my_block")):
            del sys.modules[name]


def test_a_kind_is_the_class_name_in_snake_case() -> None:
    @registry.block
    class WideConvolution3x3(Block):
        pass

    assert WideConvolution3x3.kind == "wide_convolution3x3"
    assert registry.find("block", "wide_convolution3x3") is WideConvolution3x3


def test_a_second_class_of_the_same_name_raises() -> None:
    class Plain(Block):
        pass

    with pytest.raises(UserError, match=r"named 'plain' is already registered from .*cnn_blocks"):
        registry.block(Plain)
    assert registry.find("block", "plain").__module__ == "cnn_blocks.blocks.plain"


def test_defining_the_same_class_again_replaces_it() -> None:
    def define() -> type[Block]:
        @registry.block
        class Again(Block):
            pass

        return Again

    define()
    second = define()

    assert registry.find("block", "again") is second


def test_roles_do_not_share_names() -> None:
    assert "plain" in registry.components("block")
    assert "plain" not in registry.components("head")


def test_an_unknown_kind_gets_a_close_match() -> None:
    with pytest.raises(UserError, match=r"received 'residul'; did you mean 'residual'\?"):
        registry.find("block", "residul")
    with pytest.raises(UserError, match=r"received 'zzz'\.$"):
        registry.find("block", "zzz")


def test_a_file_is_imported_once_and_remembered_as_the_source(
    tmp_path: Path, small_model: ModelConfig
) -> None:
    file = tmp_path / "my_block.py"
    file.write_text(BLOCK.format(name="FromFile"))

    first, second = registry.load_source(file), registry.load_source(str(file))

    assert first is second
    assert registry.find("block", "from_file") is first.FromFile
    data: dict[str, Any] = small_model.model_dump()
    data["backbone"]["stages"][0]["block"] = {"kind": "from_file", "filters": 3}
    assert ModelConfig.model_validate(data).sources() == {"from_file": str(file)}


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    for folder, name in (("a", "FromFolderA"), ("b", "FromFolderB")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_block.py").write_text(BLOCK.format(name=name))
        registry.load_source(tmp_path / folder / "my_block.py")

    assert {"from_folder_a", "from_folder_b"} <= set(registry.components("block"))


def test_a_module_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_block_module.py").write_text(BLOCK.format(name="FromModule"))
    monkeypatch.syspath_prepend(tmp_path)

    module = registry.load_source("my_block_module")

    assert registry.source_of(module.FromModule) == "my_block_module"


def test_a_missing_file_and_a_missing_module_say_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*absent\.py"):
        registry.load_source(tmp_path / "absent.py")
    with pytest.raises(UserError, match="there is no module 'my_block_absent'"):
        registry.load_source("my_block_absent")


def test_a_file_of_another_machine_is_imported_from_its_text(tmp_path: Path) -> None:
    file = tmp_path / "my_block.py"

    module = registry.load_source(file, text=BLOCK.format(name="FromText"))

    assert not file.exists()
    assert module.FromText.kind == "from_text"
    assert registry.find("block", "from_text") is module.FromText
    # What is stored with a candidate names the file where it is.
    assert registry.source_of(module.FromText) == str(file)
    assert registry.load_source(file) is module


def test_a_file_that_fails_is_not_kept_half_imported(tmp_path: Path) -> None:
    file = tmp_path / "my_block.py"
    file.write_text("raise RuntimeError('half')")
    with pytest.raises(UserError, match="half"):
        registry.load_source(file)

    file.write_text(BLOCK.format(name="Mended"))

    assert registry.load_source(file).Mended.kind == "mended"


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
        registry.load_source(file)

    assert f"{file}" in str(raised.value)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_class_typed_at_a_prompt_has_a_source_and_may_be_defined_twice(repository: Path) -> None:
    code = BLOCK.format(name="Typed") * 2 + (
        "\nfrom cnn_blocks.registry import source_of\nprint(source_of(Typed))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr) == ("__main__\n", "")
