"""The winner's network, stage by stage."""

import pytest

from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec
from search.report.network import describe_network
from spaces.recipes import RECIPES

CIFAR = InputSpec(image_shape=(32, 32, 3), class_names=tuple("abcdefghij"))


@pytest.mark.parametrize("name", ["granita_final", "g3_homebrew", "siaj_vgg16", "ironhack_vgg12"])
def test_the_stages_add_up_to_the_network(name: str) -> None:
    recipe = RECIPES[name]
    network = describe_network(recipe.candidate, CIFAR)

    assert network.parameters == recipe.parameters
    whole = describe_model(recipe.candidate.model, CIFAR).multiply_accumulates
    assert network.multiply_accumulates == whole
    assert network.stages[-1].shape == (10,)


def test_a_searched_network_has_its_own_stages() -> None:
    network = describe_network(RECIPES["granita_final"].candidate, CIFAR)

    assert [(stage.title, stage.block, stage.shape) for stage in network.stages] == [
        ("Input", "", (32, 32, 3)),
        ("Stage 1", "plain", (16, 16, 64)),
        ("Stage 2", "plain", (8, 8, 128)),
        ("Stage 3", "plain", (4, 4, 256)),
        ("Stage 4", "plain", (2, 2, 512)),
        ("Head", "", (10,)),
    ]
    assert network.stages[1].layers.startswith("conv 3\N{MULTIPLICATION SIGN}3, 64 filters")


def test_of_another_network_each_resolution_is_a_stage() -> None:
    network = describe_network(RECIPES["siaj_vgg16"].candidate, CIFAR)

    assert [stage.shape[:2] for stage in network.stages[1:-1]] == [
        (32, 32), (16, 16), (8, 8), (4, 4), (2, 2),
    ]  # fmt: skip
    assert "conv" in network.stages[-2].layers


def test_an_averaged_mirror_image_doubles_the_work() -> None:
    candidate = RECIPES["granita_1"].candidate
    mirrored = candidate.model_copy(
        update={"model": candidate.model.model_copy(update={"mirror": True})}
    )
    once, twice = (describe_network(each, CIFAR) for each in (candidate, mirrored))

    assert twice.multiply_accumulates == 2 * once.multiply_accumulates
    assert twice.parameters == once.parameters
    assert twice.mirrored
