"""Loading a HyperModel by name, and the errors for wrong names."""

from pathlib import Path
from typing import Any

import pytest

from cnn_blocks.errors import UserError


def load(reference: str) -> Any:
    from search.keras_tuner.loading import load_hypermodel, resolve

    return load_hypermodel(resolve(reference))((8, 8, 3), 7)


def test_a_class_gets_what_the_data_decides(own_file: Path) -> None:
    assert load("keras_tuner.applications.HyperXception").classes == 7
    own = load(f"{own_file}:Scoped")
    assert (own.input_shape, own.num_classes) == ((8, 8, 3), 7)


def test_a_function_is_a_hypermodel(own_file: Path) -> None:
    import keras_tuner

    model = load(f"{own_file}:build_plain")

    assert isinstance(model, keras_tuner.HyperModel)
    assert model.build(keras_tuner.HyperParameters()).output_shape == (None, 10)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("HyperResNet", ["package.module.Name"]),
        ("keras_tuner.applications:HyperResNet", ["path/to/file.py:Name"]),
        ("own_models.py", ["path/to/file.py:Name"]),
        ("gone.py:Model", ["gone.py"]),
        ("no_such_package.Model", ["no_such_package"]),
        ("keras_tuner.applications.HyperResnet", ["Did you mean 'HyperResNet'?"]),
        ("keras_tuner.Objective", ["keras_tuner.HyperModel", "Objective"]),
        ("{own}:not_a_hypermodel", ["build(hp)", "'int'"]),
    ],
)
def test_a_wrong_name_says_what_is_right(own_file: Path, reference: str, parts: list[str]) -> None:
    reference = reference.replace("{own}", str(own_file))
    with pytest.raises(UserError) as raised:
        load(reference)

    assert all(part in str(raised.value) for part in parts), str(raised.value)


def test_a_class_that_wants_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wanting.py"
    path.write_text(
        "import keras_tuner\n"
        "class Wanting(keras_tuner.HyperModel):\n"
        "    def __init__(self, depth):\n"
        "        super().__init__()\n"
    )
    with pytest.raises(UserError, match=r"Wanting.*'depth'"):
        load(f"{path}:Wanting")


def test_a_file_that_moved_is_found_in_the_working_folder(
    own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.keras_tuner.loading import load_hypermodel

    monkeypatch.chdir(own_file.parent)

    assert load_hypermodel("/nowhere/own_models.py:Scoped")((8, 8, 3), 3).num_classes == 3
