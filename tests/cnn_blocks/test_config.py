"""Configurations: only valid ones can exist, and JSON round trips preserve them."""

import json
import math
import typing
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cnn_blocks import registry
from cnn_blocks.augmentation import Augmentation
from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.blocks.residual import Residual
from cnn_blocks.config import Block, Configuration, Head, InputSpec, ModelConfig
from cnn_blocks.errors import UserError
from cnn_blocks.heads.pooled import DenseLayer, Pooled

ROLES: dict[type[Configuration], str] = {Block: "block", Head: "head"}


def configurations(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Draws valid configurations of a class, from its fields' types and limits."""
    if model in ROLES:
        return st.one_of(
            [configurations(found) for found in registry.components(ROLES[model]).values()]
        )
    fields = {
        name: _values(field.annotation, tuple(field.metadata))
        for name, field in model.model_fields.items()
    }
    return st.builds(model, **fields)


def _values(annotation: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple and Ellipsis in arguments:
        items = _values(arguments[0], ())
        return st.lists(items, min_size=1, max_size=3).map(tuple)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return configurations(annotation)
    limited: Any = Annotated[(annotation, *metadata)] if metadata else annotation
    found: st.SearchStrategy[Any] = st.from_type(limited)
    return found.filter(lambda value: not isinstance(value, float) or math.isfinite(value))


def networks() -> st.SearchStrategy[ModelConfig]:
    """Draws networks with staged backbones.

    The fields of a pretrained backbone depend on files and on each other; separate tests cover
    their round trips.
    """
    return st.builds(
        ModelConfig,
        preprocessing=st.sampled_from(["scale", "standardize", "none"]),
        input_size=st.none() | st.integers(1, 512),
        backbone=configurations(Staged),
        head=configurations(Head),
    )


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks())
def test_json_keeps_a_network_exactly(config: ModelConfig) -> None:
    text = config.model_dump_json()

    assert ModelConfig.model_validate_json(text) == config
    assert ModelConfig.model_validate(json.loads(text)).model_dump_json() == text


@settings(max_examples=50, deadline=None)
@given(configurations(Augmentation))
def test_json_keeps_an_augmentation_exactly(augmentation: Augmentation) -> None:
    assert Augmentation.model_validate_json(augmentation.model_dump_json()) == augmentation


def test_kinds_tell_blocks_with_the_same_fields_apart() -> None:
    fields = {"filters": 8, "activation": "gelu"}
    networks = [
        ModelConfig(backbone=Staged(stages=(Stage(block=block),)), head=Pooled())
        for block in (Plain(**fields), Residual(**fields))
    ]

    reread = [ModelConfig.model_validate_json(network.model_dump_json()) for network in networks]

    assert reread == networks
    assert [part.kind for part in reread[0].components()] == ["staged", "plain", "pooled"]
    assert [part.kind for part in reread[1].components()] == ["staged", "residual", "pooled"]


def _with(*path: str | int, value: Any) -> dict[str, Any]:
    network = ModelConfig(
        backbone=Staged(stages=(Stage(block=Plain()),)), head=Pooled(layers=(DenseLayer(),))
    )
    data: dict[str, Any] = json.loads(network.model_dump_json())
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("colour",), "blue"),
        (("backbone", "stages", 0, "deep"), 3),
        (("backbone", "stages", 0, "block", "strides"), 2),
        (("head", "layers", 0, "neurons"), 2),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_an_unknown_key_is_named(path: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(ValidationError, match=f"(?s){path[-1]}.*Extra inputs are not permitted"):
        ModelConfig.model_validate(_with(*path, value=value))


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("format_version",), 2, "Input should be 1"),
        (("preprocessing",), "whiten", "'scale', 'standardize' or 'none'"),
        (("backbone", "stages"), [], "at least 1 item"),
        (("backbone", "stages", 0, "depth"), 0, "greater than 0"),
        (("backbone", "stages", 0, "dropout"), 1.0, "less than 1"),
        (("backbone", "stages", 0, "block", "filters"), -1, "greater than 0"),
        (("backbone", "stages", 0, "block", "activation"), "rely", "'relu'"),
        (("backbone", "stages", 0, "block", "l2"), math.inf, "finite number"),
        (("backbone", "stages", 0, "block", "l2"), math.nan, "finite number"),
        (("backbone", "stages", 0, "block", "kind"), "plian", "did you mean 'plain'"),
        (("backbone", "stages", 0, "block", "kind"), 3, "key 'kind' with a name; received 3"),
        (("backbone", "kind"), "pooled", "A backbone must be one of"),
        (("head", "kind"), "pooling", "did you mean 'pooled'"),
        (("head", "pooling"), "avg", "'average'"),
    ],
)
def test_an_illegal_value_is_refused_with_the_rule(
    path: tuple[str | int, ...], value: Any, rule: str
) -> None:
    with pytest.raises(ValidationError, match=rule):
        ModelConfig.model_validate(_with(*path, value=value))


def test_a_component_needs_its_kind() -> None:
    with pytest.raises(ValidationError, match="key 'kind' with a name; received None"):
        ModelConfig.model_validate({"backbone": {"stages": []}, "head": {"kind": "pooled"}})


def test_a_component_refuses_the_kind_of_another() -> None:
    with pytest.raises(ValidationError, match="kind"):
        Plain.model_validate({"kind": "residual"})


def test_a_value_outside_the_searched_range_is_legal() -> None:
    assert Plain(filters=1000).filters == 1000


def test_a_configuration_cannot_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Plain(), "filters", 3)  # noqa: B010


def test_our_own_components_need_no_source(small_model: ModelConfig) -> None:
    assert small_model.sources() == {}


def test_an_input_specification_needs_two_classes_and_positive_deviations() -> None:
    with pytest.raises(ValidationError, match="at least 2 items"):
        InputSpec(image_shape=(8, 8, 3), class_names=("one",))
    with pytest.raises((ValidationError, UserError), match=r"must be positive; received \(0.0,"):
        InputSpec(image_shape=(8, 8, 3), class_names=("a", "b"), channel_deviation=(0, 1, 1))


@pytest.mark.parametrize("channels", [1, 4])
def test_images_have_three_channels(channels: int) -> None:
    with pytest.raises(ValidationError, match="image_shape"):
        InputSpec.model_validate({"image_shape": (8, 8, channels), "class_names": ("a", "b")})
