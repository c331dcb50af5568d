"""Expressing a candidate in a space: parameters if it is possible, differences if it is not."""

from typing import Any

import pytest
from optuna.trial import FixedTrial

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from spaces.backbones import parse_backbone
from spaces.candidate import Candidate, TrainingConfig
from spaces.express import Expressing
from spaces.probe import ProbeTrial, Space
from spaces.recipes import RECIPES
from spaces.shipped.depth_filters import depth_filters
from spaces.shipped.hand_made import hand_made
from spaces.shipped.optimizer import optimizer
from spaces.shipped.quickstart import quickstart
from spaces.shipped.transfer_head import transfer_head
from spaces.suggest import Trial

SPEC = InputSpec(image_shape=(32, 32, 3), class_names=tuple("0123456789"))
HAND_MADE = [
    name
    for name, recipe in RECIPES.items()
    if recipe.published_line() and isinstance(recipe.candidate.model.backbone, Staged)
]


@pytest.fixture(scope="module")
def expressing_hand_made() -> Expressing:
    return Expressing(hand_made)


def _layers(config: ModelConfig) -> list[tuple[str, dict[str, Any]]]:
    """Returns the configuration of each layer of the built network, without names."""
    model = build_model(config, SPEC)
    found = []
    for layer in model.layers:
        settings = layer.get_config()
        del settings["name"]
        found.append((type(layer).__name__, settings))
    return found


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_holds_every_hand_made_recipe(
    name: str, expressing_hand_made: Expressing
) -> None:
    candidate = RECIPES[name].candidate

    found = expressing_hand_made.express(candidate)

    assert found.differences == ()
    replayed = hand_made(FixedTrial(found.parameters))
    assert _layers(replayed.model) == _layers(candidate.model)
    settled = {"epochs", "early_stopping"}
    assert replayed.training.model_dump(exclude=settled) == candidate.training.model_dump(
        exclude=settled
    )
    early = candidate.training.early_stopping
    assert found.settled == (() if early is None else (f"early_stopping {early} (nearest None)",))


def test_there_are_ten_hand_made_recipes() -> None:
    assert len(HAND_MADE) == 10


@pytest.mark.parametrize("space", [quickstart, optimizer, hand_made])
def test_what_a_space_gives_is_found_again(space: Space) -> None:
    expressing = Expressing(space)

    for seed in range(200, 204):
        candidate = space(ProbeTrial(seed=seed))
        found = expressing.express(candidate)
        assert found.differences == ()
        assert space(FixedTrial(found.parameters)).to_json() == candidate.to_json()


def test_a_rate_of_growth_and_a_rising_dropout_are_found() -> None:
    parameters = {
        "learning_rate": 2e-3,
        "horizontal_flip": True,
        "stages": 4,
        "filters": 24,
        "filters_growth": 1.7,
        "dropout": 0.3,
        "dropout_schedule": "rising",
        "kernel_size": 5,
        "activation": "elu",
        "normalization": "batch",
        "normalization_order": "after",
        "l2": 1e-4,
        "convolutions": 2,
        "reduction": "stride",
        "stem_filters": 16,
        "dense_layers": 1,
        "dense_1_units": 100,
        "pooling": "flatten",
    }
    candidate = depth_filters(FixedTrial(parameters))

    found = Expressing(depth_filters).express(candidate)

    assert found.differences == ()
    assert depth_filters(FixedTrial(found.parameters)).to_json() == candidate.to_json()
    assert found.parameters["dropout"] == pytest.approx(0.3)


def test_what_a_space_cannot_express_has_its_reasons() -> None:
    found = Expressing(depth_filters).express(RECIPES["granita_3"].candidate)

    assert "backbone.blocks.4.reduction_behind none (nearest max)" in found.differences
    assert "optimizer adam (nearest muon)" in found.settled
    assert "initializer glorot_uniform (nearest he_uniform)" in found.settled
    depth_filters(FixedTrial(found.parameters))  # the closest candidate is in the space


def test_a_transfer_space_holds_the_recipes_of_its_backbones() -> None:
    names = ["siaj_xception", "siaj_vgg16", "ironhack_resnet50", "ironhack_vgg16"]
    backbones = [parse_backbone(name) for name in ("Xception", "VGG16", "ResNet50")]

    def space(trial: Trial) -> Candidate:
        return transfer_head(trial, backbones=backbones)

    expressing = Expressing(space)

    for name in names:
        found = expressing.express(RECIPES[name].candidate)
        assert found.differences == ()
        assert "optimizer adam (nearest adamw)" in found.settled
        replayed = space(FixedTrial(found.parameters))
        assert replayed.model.backbone == RECIPES[name].candidate.model.backbone
    unfrozen = expressing.express(RECIPES["g3_densenet121"].candidate)
    assert "backbone.trainable all (nearest none)" in unfrozen.differences


def test_another_kind_of_backbone_is_not_looked_for() -> None:
    found = Expressing(depth_filters).express(RECIPES["siaj_xception"].candidate)

    assert found.differences == ("backbone 'keras_application', but the space has staged",)
    assert found.parameters == {}


def _fixed(*stages: Stage, **training: Any) -> Space:
    def space(trial: Trial) -> Candidate:
        filters = trial.suggest_int("filters", 4, 64)
        first = stages[0].model_copy(
            update={"block": stages[0].block.model_copy(update={"filters": filters})}
        )
        return Candidate(
            model=ModelConfig(backbone=Staged(stages=(first, *stages[1:])), head=Pooled()),
            training=TrainingConfig(**training),
        )

    return space


def _stage(filters: int = 8, **fields: Any) -> Stage:
    block = {"order": "after", **fields.pop("block", {})}
    return Stage(block=Plain(filters=filters, **block), **fields)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([_stage(depth=2)], [_stage(reduction="none"), _stage()]),
        ([_stage(place="first")], [_stage(place="last")]),
        (
            [_stage(block={"normalization": "none", "order": "before"})],
            [_stage(block={"normalization": "none", "order": "after"})],
        ),
        ([_stage(block={"l2": 1e-7})], [_stage()]),
    ],
    ids=["two stages of one", "one block is first and last", "nothing to order", "a trace of L2"],
)
def test_two_ways_of_saying_the_same_are_the_same(one: list[Stage], other: list[Stage]) -> None:
    target = Candidate(
        model=ModelConfig(backbone=Staged(stages=tuple(other)), head=Pooled()),
        training=TrainingConfig(),
    )

    found = Expressing(_fixed(*one)).express(target)

    assert found.differences == ()
    assert found.parameters == {"filters": 8}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ([_stage(depth=2)], [_stage(), _stage()], "blocks.1.reduction_behind max (nearest none)"),
        ([_stage(depth=2, place="first")], [_stage(depth=2)], "blocks.2.reduction_behind max"),
        (
            [_stage(place="first", block={"order": "before"})],
            [_stage(block={"order": "before"})],
            "blocks.1.reduction_behind max (nearest none)",
        ),
        ([_stage(), _stage()], [_stage()], "blocks.2 (extra)"),
        ([_stage()], [_stage(), _stage()], "blocks.2 (missing)"),
        ([_stage()], [_stage(block={"normalization": "layer"})], "blocks.1.normalization layer"),
        ([_stage()], [_stage(dropout=0.1)], "blocks.1.stage.dropout 0.1 (nearest 0.0)"),
    ],
)
def test_what_differs_is_said(one: list[Stage], other: list[Stage], difference: str) -> None:
    target = Candidate(
        model=ModelConfig(backbone=Staged(stages=tuple(other)), head=Pooled()),
        training=TrainingConfig(),
    )

    found = Expressing(_fixed(*one)).express(target)

    assert any(difference in text for text in found.differences)


def test_what_the_space_trains_equally_need_not_agree() -> None:
    def varied(trial: Trial) -> Candidate:
        candidate = _fixed(_stage(), optimizer="sgd", batch_size=64)(trial)
        rate = trial.suggest_float("learning_rate", 0.01, 0.1)
        return candidate.with_training(learning_rate=rate)

    target = varied(FixedTrial({"filters": 16, "learning_rate": 0.05})).with_training(
        optimizer="adam", batch_size=32, epochs=99
    )

    found = Expressing(varied).express(target)
    outside = Expressing(varied).express(target.with_training(learning_rate=0.5))

    assert found.differences == ()
    assert found.parameters == {"filters": 16, "learning_rate": 0.05}
    assert set(found.settled) == {"optimizer adam (nearest sgd)", "batch_size 32 (nearest 64)"}
    assert [text.split()[0] for text in outside.differences] == ["learning_rate"]
