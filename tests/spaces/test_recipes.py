"""The published baselines: parameter counts, and the layers printed in their reports."""

import importlib
import pkgutil
from collections import Counter

import pytest

import spaces.recipes
from cnn_blocks.build import build_model, describe_model
from cnn_blocks.config import InputSpec
from cnn_blocks.errors import UserError
from spaces.candidate import Candidate
from spaces.recipes import RECIPES, Recipe, find_recipe

SPEC = InputSpec(image_shape=(32, 32, 3), class_names=tuple("0123456789"))
PUBLISHED_COUNTS = {
    "granita_1": (122_570, None),
    "granita_2": (122_570, None),
    "granita_3": (1_494_218, None),
    "granita_final": (1_825_994, None),
    "g3_homebrew": (416_490, None),
    "bicocca_cnn": (404_778, None),
    "bicocca_inception_resnet_v2": (55_193_194, 855_178),
}

every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


def test_there_are_eighteen() -> None:
    assert len(RECIPES) == 18
    assert Counter(name.split("_")[0] for name in RECIPES) == {
        "granita": 4,
        "g3": 4,
        "bicocca": 2,
        "ironhack": 4,
        "siaj": 4,
    }
    modules = [module.name for module in pkgutil.iter_modules(spaces.recipes.__path__)]
    stated = [
        recipe
        for name in modules
        for recipe in getattr(importlib.import_module(f"spaces.recipes.{name}"), "RECIPES", ())
    ]
    assert {recipe.name for recipe in stated} == set(RECIPES)
    assert len(stated) == len(RECIPES)


@every_recipe
def test_the_stored_counts_are_what_is_built(recipe: Recipe) -> None:
    shape = describe_model(recipe.candidate.model, SPEC)

    assert (shape.parameters, shape.trainable_parameters) == (
        recipe.parameters,
        recipe.trainable_parameters,
    )


@pytest.mark.parametrize("name", PUBLISHED_COUNTS)
def test_the_stored_counts_are_the_published_ones(name: str) -> None:
    total, trainable = PUBLISHED_COUNTS[name]

    assert RECIPES[name].parameters == total
    assert trainable in (None, RECIPES[name].trainable_parameters)


def test_the_frozen_part_has_its_published_count() -> None:
    recipe = RECIPES["bicocca_inception_resnet_v2"]

    assert recipe.parameters - recipe.trainable_parameters == 54_338_016


@every_recipe
def test_a_recipe_says_what_it_is(recipe: Recipe) -> None:
    assert recipe.source.startswith(f"{recipe.name.split('_')[0]}, published report 00")
    assert recipe.published or recipe.remark
    assert all(0 <= value <= 1 for name, value in recipe.published.items() if name != "loss")
    assert recipe.assumed
    assert "\n" not in recipe.description
    assert Candidate.from_json(recipe.candidate.to_json()) == recipe.candidate


def _layers(name: str) -> list[tuple[str, tuple[int, ...], int]]:
    """Returns kind, output shape and parameters of each layer after the preprocessing."""
    model = build_model(RECIPES[name].candidate.model, SPEC)
    found = [
        (type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    return [layer for layer in found if layer[0] not in ("InputLayer", "Rescaling")]


def test_g3_homebrew_layer_by_layer() -> None:
    layers = _layers("g3_homebrew")

    assert [count for _, _, count in layers if count] == [
        *(896, 128, 9_248, 128),
        *(18_496, 256, 73_856, 512),
        *(147_584, 147_584, 16_512, 1_290),
    ]
    assert layers[0] == ("Resizing", (64, 64, 3), 0)
    pooled = [shape for kind, shape, _ in layers if kind == "MaxPooling2D"]
    assert pooled == [(32, 32, 32), (16, 16, 128)]
    kinds = [kind for kind, _, _ in layers if kind not in ("Activation", "Resizing")]
    assert kinds == [
        *("Conv2D", "BatchNormalization", "Dropout", "Conv2D", "BatchNormalization"),
        "MaxPooling2D",
        *("Conv2D", "BatchNormalization", "Dropout", "Conv2D", "BatchNormalization"),
        *("MaxPooling2D", "Dropout"),
        *("Conv2D", "Conv2D", "Dropout"),
        *("GlobalAveragePooling2D", "Dense", "Dropout", "Dense"),
    ]


def test_granita_1_layer_by_layer() -> None:
    layers = [layer for layer in _layers("granita_1") if layer[0] != "Activation"]

    assert layers == [
        ("Conv2D", (30, 30, 32), 896),
        ("MaxPooling2D", (15, 15, 32), 0),
        ("Conv2D", (13, 13, 64), 18_496),
        ("MaxPooling2D", (6, 6, 64), 0),
        ("Conv2D", (4, 4, 64), 36_928),
        ("Flatten", (1024,), 0),
        ("Dense", (64,), 65_600),
        ("Dense", (10,), 650),
    ]


def test_each_granita_final_stage_is_convolution_normalisation_pooling_dropout() -> None:
    kinds = [kind for kind, _, _ in _layers("granita_final") if kind != "Activation"]

    stage = ["Conv2D", "BatchNormalization", "MaxPooling2D", "Dropout"]
    assert kinds == [*stage * 4, "Flatten", "Dense", "Dense", "Dense"]


def test_bicocca_cnn_standardises_and_drops_behind_pooling() -> None:
    kinds = [kind for kind, _, _ in _layers("bicocca_cnn") if kind != "Activation"]

    convolution = ["Conv2D", "BatchNormalization"]
    end = ["MaxPooling2D", "Dropout"]
    assert kinds == [
        "Normalization",
        *(*convolution, *convolution, *end) * 2,
        *(*convolution, *end),
        *("Flatten", "Dense", "BatchNormalization", "Dropout", "Dense"),
    ]


def test_ironhack_vgg12_has_twelve_convolutions_and_normalises_once_a_stage() -> None:
    layers = [layer for layer in _layers("ironhack_vgg12") if layer[0] != "Activation"]

    kinds = [kind for kind, _, _ in layers]
    two, three = ([*["Conv2D"] * count, "BatchNormalization", "MaxPooling2D"] for count in (2, 3))
    assert kinds == [*two * 3, *three * 2, "Flatten", "Dropout", "Dense", "Dense"]
    assert Counter(kinds)["Conv2D"] == 12
    assert layers[-4] == ("Flatten", (512,), 0)


def test_the_inception_head_is_the_published_one() -> None:
    recipe = RECIPES["bicocca_inception_resnet_v2"]

    shape = describe_model(recipe.candidate.model, SPEC)

    assert shape.feature_map == (8, 8, 1536)
    dense = [1536 * 512 + 512, 512 * 128 + 128, 128 * 10 + 10]
    assert sum(dense) + 2 * 512 + 2 * 128 == recipe.trainable_parameters


def test_the_two_siaj_networks_differ_in_their_images_only() -> None:
    first, second = RECIPES["siaj_tensorflow"], RECIPES["siaj_pytorch"]

    assert first.candidate == second.candidate
    assert (first.images, second.images) == (8_000, None)
    assert first.validation_fraction == 0.1


@every_recipe
def test_l2_stands_where_the_report_has_it(recipe: Recipe) -> None:
    penalised = {
        "granita_3": 4,
        "granita_final": 4,
        "bicocca_cnn": 5,
        "ironhack_vgg12": 1,
        "ironhack_resnet50": 1,
        "ironhack_vgg16": 1,
    }
    content = recipe.candidate.model.model_dump()
    stages = content["backbone"].get("stages", ())
    strengths = [stage["block"]["l2"] for stage in stages for _ in range(stage["depth"])]
    strengths += [layer["l2"] for layer in content["head"]["layers"]]

    assert [value for value in strengths if value] == [0.001] * penalised.get(recipe.name, 0)


def test_an_unknown_name_gets_the_closest_one() -> None:
    assert find_recipe("g3_homebrew").name == "g3_homebrew"
    with pytest.raises(UserError, match=r"'g3_homebrw'; did you mean 'g3_homebrew'\?"):
        find_recipe("g3_homebrw")


def test_the_published_line_reads_well() -> None:
    assert RECIPES["granita_1"].published_line() == "accuracy 0.6877, loss 1.1005; overfits"
    assert RECIPES["ironhack_resnet50"].published_line() == "better than ironhack_vgg12"
