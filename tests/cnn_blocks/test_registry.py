"""The registry: names derive from classes, duplicates raise, a user's file is found again."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cnn_blocks import registry
from cnn_blocks.config import Block, ModelConfig
from cnn_blocks.errors import UserError
from cnn_blocks.source_files import load_source

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

pytestmark = pytest.mark.usefixtures("forgets_components")


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

    first, second = load_source(file), load_source(str(file))

    assert first is second
    assert registry.find("block", "from_file") is first.FromFile
    data: dict[str, Any] = small_model.model_dump()
    data["backbone"]["stages"][0]["block"] = {"kind": "from_file", "filters": 3}
    assert ModelConfig.model_validate(data).sources() == {"from_file": str(file)}


def test_a_module_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_block_module.py").write_text(BLOCK.format(name="FromModule"))
    monkeypatch.syspath_prepend(tmp_path)

    module = load_source("my_block_module")

    assert registry.source_of(module.FromModule) == "my_block_module"


def test_a_class_typed_at_a_prompt_has_a_source_and_may_be_defined_twice(repository: Path) -> None:
    code = BLOCK.format(name="Typed") * 2 + (
        "\nfrom cnn_blocks.registry import source_of\nprint(source_of(Typed))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr) == ("__main__\n", "")
