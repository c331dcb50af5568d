"""The winner's configuration file: round trips, and error messages for bad files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnn_blocks.errors import UserError
from search.results.configuration_file import (
    BestConfiguration,
    read_configuration,
    write_configuration,
)
from spaces.candidate import Candidate


def content() -> dict[str, Any]:
    stages = [{"block": {"kind": "plain", "filters": 8}}, {"block": {"kind": "plain"}, "depth": 2}]
    return {
        "format_version": 1,
        "study": "depth_filters",
        "trial": 7,
        "metric": "accuracy",
        "value": 0.875,
        "seed": 3,
        "epochs": 24,
        "image_size": [32, 32],
        "class_names": ["no", "1", "größer"],
        "candidate": {
            "model": {
                "backbone": {"kind": "staged", "stages": stages},
                "head": {"kind": "pooled", "layers": [{"units": 16}]},
            },
            "training": {"learning_rate": 1e-5},
        },
    }


def changed(path: Path, key: str, value: Any) -> Path:
    """Writes the content with one dotted key changed."""
    changed = content()
    *parents, last = key.split(".")
    place: Any = changed
    for step in parents:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    place[last] = value
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_configuration(path)
    return str(error.value)


@pytest.mark.parametrize("name", ["best.json", "best.yaml", "best.yml"])
def test_what_was_written_is_read_again(tmp_path: Path, name: str) -> None:
    configuration = BestConfiguration.model_validate(content())
    path = write_configuration(tmp_path / "new" / name, configuration)
    assert read_configuration(path) == configuration
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_a_configuration_of_an_earlier_version_was_found_on_stretched_images() -> None:
    earlier = BestConfiguration.model_validate(content())
    assert earlier.fit is None
    assert earlier.fit_of_images == "stretch"
    assert earlier.model_copy(update={"image_size": None}).fit_of_images is None
    assert earlier.model_copy(update={"fit": "crop"}).fit_of_images == "crop"


def test_json_and_yaml_hold_the_same(tmp_path: Path) -> None:
    configuration = BestConfiguration.model_validate(content())
    as_json = write_configuration(tmp_path / "best.json", configuration).read_text("utf-8")
    as_yaml = write_configuration(tmp_path / "best.yaml", configuration).read_text("utf-8")
    assert json.loads(as_json) == yaml.safe_load(as_yaml)


def test_an_exponent_that_yaml_takes_for_text_is_a_number(tmp_path: Path) -> None:
    path = changed(tmp_path / "best.yaml", "candidate.training.learning_rate", "1e-3")
    assert read_configuration(path).candidate.training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sed", 3, ["sed is not a known key", "did you mean 'seed'?", "image_size"]),
        (
            "candidate.training.learning_rat",
            0.1,
            ["candidate.training.learning_rat is", "'learning_rate'?", "batch_size"],
        ),
        (
            "candidate.model.backbone.stages.1.block.filter",
            9,
            ["candidate.model.backbone.stages.1.block.filter is", "'filters'?"],
        ),
        (
            "candidate.model.backbone.stages.0.deepth",
            9,
            ["candidate.model.backbone.stages.0.deepth is", "'depth'?", "reduction"],
        ),
        (
            "candidate.model.head.layers.0.unit",
            9,
            ["candidate.model.head.layers.0.unit is", "'units'?", "initializer"],
        ),
        (
            "candidate.training.learning_rate",
            -1.0,
            ["candidate.training.learning_rate must be greater than 0; received -1.0"],
        ),
        (
            "candidate.model.head.dropout",
            1.5,
            ["candidate.model.head.dropout must be less than 1; received 1.5"],
        ),
        (
            "candidate.model.backbone.stages.0.block.filters",
            "many",
            ["stages.0.block.filters must be a valid integer", "received 'many'"],
        ),
        (
            "candidate.training.schedule",
            "cosin",
            ["candidate.training.schedule", "received 'cosin'", "'cosine'?", "one_cycle"],
        ),
        (
            "candidate.model.head.layers.0.activation",
            "Relu",
            ["head.layers.0.activation", "received 'Relu'", "'relu'?", "gelu"],
        ),
        (
            "candidate.model.backbone.stages.0.block.kind",
            "plein",
            ["candidate.model.backbone.stages.0.block", "received 'plein'", "'plain'?"],
        ),
        (
            "candidate.model.backbone.stages",
            [{"block": {"kind": "plain"}, "depth": 0}],
            ["stages.0.depth must be greater than 0; received 0"],
        ),
        ("candidate.model.backbone.stages", [], ["stages", "at least 1 item"]),
        ("candidate.model.head.kind", 3, ["candidate.model.head", "received 3"]),
        ("candidate.model.head", {}, ["candidate.model.head", "kind"]),
        ("candidate.model.head", None, ["candidate.model.head", "received None"]),
        ("candidate", {"training": {}}, ["candidate.model is missing"]),
        ("epochs", 0, ["epochs must be greater than 0; received 0"]),
        ("format_version", 2, ["format_version 2", "newer", "up to 1"]),
        ("candidate.format_version", 9, ["format_version 9", "newer"]),
        ("format_version", 0, ["format_version must be one of", "received 0", "Allowed: 1"]),
        ("components", {"mine": "gone.py"}, ["components.mine", "gone.py"]),
        ("components", {"mine": "no_such_module"}, ["components.mine", "no_such_module"]),
        ("components", ["mine"], ["components must be", "received ['mine']"]),
    ],
)
def test_a_bad_key_or_value_is_named_with_what_is_allowed(
    tmp_path: Path, key: str, value: Any, expected: list[str]
) -> None:
    text = message(changed(tmp_path / "best.yaml", key, value))
    assert text.startswith(str(tmp_path / "best.yaml"))
    for part in expected:
        assert part in text
    assert "\n" not in text


def test_every_problem_is_named(tmp_path: Path) -> None:
    path = changed(tmp_path / "best.yaml", "sed", 1)
    text = path.read_text("utf-8").replace("epochs: 24", "epochs: many")
    path.write_text(text, "utf-8")
    assert len(message(path).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("best.json", '{\n"seed": 1,,\n}', ["line 2", "not valid JSON"]),
        ("best.yaml", "seed: 1\ncandidate: [1, 2\n", ["line 3", "not valid YAML"]),
        ("best.yaml", "seed: 1\nseed: 2\n", ["line 2", "'seed' occurs twice"]),
        ("best.json", '{"seed": 1, "seed": 2}', ["'seed' occurs twice"]),
        ("best.yaml", "", ["must be a mapping", "received NoneType"]),
        ("best.json", "[]", ["must be a mapping", "received list"]),
        ("best.toml", "", ["must end in .json, .yaml, .yml"]),
        ("best.yaml", "seed: !!python/name:os.system\n", ["line 1", "not valid YAML"]),
        ("best.yaml", "{[1]: 2}", ["not valid YAML"]),
    ],
)
def test_a_broken_file_says_where(
    tmp_path: Path, name: str, text: str, expected: list[str]
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    for part in [name, *expected]:
        assert part in message(tmp_path / name)


def test_a_missing_file_and_one_that_is_no_text_are_errors(tmp_path: Path) -> None:
    assert "there is no" in message(tmp_path / "best.yaml")
    (tmp_path / "best.json").write_bytes(b"\xff\xfe\x00")
    assert f"{tmp_path / 'best.json'}: 'utf-8' codec" in message(tmp_path / "best.json")
    assert "export it again" in message(tmp_path / "best.json")
    (tmp_path / "folder.yaml").mkdir()
    assert "readable" in message(tmp_path / "folder.yaml")


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    written = BestConfiguration(candidate=Candidate.model_validate(content()["candidate"]))

    with pytest.raises(UserError, match="choose another file"):
        write_configuration(tmp_path / "file" / "best.yaml", written)


BLOCK = """
from keras import layers
from cnn_blocks.config import Block
from cnn_blocks.registry import block

@block
class {name}(Block):
    def __call__(self, x, *, reduction="none"):
        return layers.Conv2D(self.filters, 3, padding="same")(x)
"""


@pytest.mark.usefixtures("components_forgotten")
def test_a_component_of_ones_own_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(BLOCK.format(name="BesideTheFile"), "utf-8")
    path = changed(tmp_path / "best.yaml", "components", {"beside_the_file": "/gone/own.py"})
    text = path.read_text("utf-8").replace("kind: plain", "kind: beside_the_file")
    path.write_text(text, "utf-8")
    configuration = read_configuration(path)
    assert list(configuration.candidate.model.sources().values()) == [str(tmp_path / "own.py")]


def test_a_file_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import a_module_that_nobody_has\n", "utf-8")
    path = changed(tmp_path / "best.yaml", "components", {"mine": "own.py"})
    text = message(path)
    assert "components.mine" in text
    assert "a_module_that_nobody_has" in text


def test_every_field_of_a_candidate_survives(tmp_path: Path) -> None:
    candidate = Candidate.model_validate(content()["candidate"])
    written = BestConfiguration(candidate=candidate)
    assert (
        read_configuration(write_configuration(tmp_path / "best.yaml", written)).candidate.to_json()
        == candidate.to_json()
    )
