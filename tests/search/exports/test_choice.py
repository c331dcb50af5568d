"""Which formats there are, and what is said where their packages are missing."""

from pathlib import Path

import pytest

from cnn_blocks.errors import UserError
from search.exports import choice
from search.exports.choice import FORMATS, chosen_formats, format_of, require_packages


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Makes importable what is put into it, and nothing else."""
    names: set[str] = set()
    monkeypatch.setattr(choice, "_is_importable", names.__contains__)
    return names


def test_formats_come_in_one_order_and_litert_in_three_precisions(installed: set[str]) -> None:
    installed |= {"ai_edge_litert", "openvino", "tf2onnx", "onnx", "onnxruntime"}

    chosen = chosen_formats(" openvino, onnx,litert,keras,saved_model,onnx")

    assert [one.name for one in chosen] == [
        "keras",
        "saved_model",
        "onnx",
        "litert",
        "litert_float16",
        "litert_int8",
        "openvino",
    ]
    assert [one.name for one in chosen if not one.is_exact] == ["litert_float16", "litert_int8"]
    assert len({one.root for one in chosen}) == len(chosen)


@pytest.mark.parametrize(
    ("names", "part"), [("onx", "Fix: write 'onnx'"), ("", "received none"), ("x,keras", "'x'")]
)
def test_unknown_names_are_refused(names: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        chosen_formats(names)


def test_all_missing_packages_are_named_at_once_with_their_extras(installed: set[str]) -> None:
    installed |= {"onnx", "ai_edge_litert"}

    with pytest.raises(UserError) as error:
        chosen_formats("keras,onnx,litert,openvino")

    assert "tf2onnx, onnxruntime, openvino" in str(error.value)
    assert str(error.value).endswith('Fix: pip install "cnn-search[onnx,openvino]".')
    assert [one.name for one in chosen_formats("keras,saved_model")] == ["keras", "saved_model"]


def test_every_format_that_needs_packages_has_an_extra(repository: Path) -> None:
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needing = {name for name, formats in FORMATS.items() if formats[0].modules}

    assert needing | {"hub"} <= project["optional-dependencies"].keys()


def test_what_is_not_there_cannot_be_imported() -> None:
    with pytest.raises(UserError, match=r'no_such_module.*"cnn-search\[some\]"'):
        require_packages({"some": ("no_such_module", "json")})


def test_tensorflow_writes_all_but_keras_own(
    monkeypatch: pytest.MonkeyPatch, installed: set[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")

    assert chosen_formats("keras")
    with pytest.raises(UserError, match="Fix: export with KERAS_BACKEND=tensorflow"):
        chosen_formats("keras,saved_model")


def test_files_tell_their_format(tmp_path: Path) -> None:
    for name, formats in FORMATS.items():
        for one in formats:
            path = tmp_path / one.file
            path.parent.mkdir(exist_ok=True)
            path.touch()
            assert format_of(path) == name
            assert format_of(tmp_path / one.root) == name
    assert format_of(tmp_path / "weights.h5") is None
    assert format_of(tmp_path) is None
