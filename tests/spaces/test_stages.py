"""Building stages from a few numbers: filter schedules, and rates that rise with depth."""

import pytest
from optuna.trial import FixedTrial

from spaces.pooled_head import suggest_head
from spaces.probe import ProbeTrial, explore
from spaces.shipped.blocks import BLOCKS, blocks
from spaces.stages import scheduled_dropout, suggest_filters


@pytest.mark.parametrize(
    ("parameters", "filters"),
    [
        ({"filters_schedule": "constant", "filters": 24}, [24, 24, 24]),
        ({"filters_schedule": "doubling", "filters": 24}, [24, 48, 96]),
        (
            {
                "filters_schedule": "free",
                "stage_1_filters": 64,
                "stage_2_filters": 16,
                "stage_3_filters": 20,
            },
            [64, 16, 20],
        ),
    ],
    ids=lambda value: value["filters_schedule"] if isinstance(value, dict) else None,
)
def test_filters_follow_their_schedule(
    parameters: dict[str, int | str], filters: list[int]
) -> None:
    assert suggest_filters(FixedTrial(parameters), 3, low=16, high=32) == filters


def test_a_rising_rate_ends_at_its_value() -> None:
    assert scheduled_dropout(0.3, "rising", 3) == pytest.approx([0.1, 0.2, 0.3])
    assert scheduled_dropout(0.3, "constant", 3) == [0.3] * 3


def test_dense_layers_have_their_own_fields() -> None:
    head = next(
        head
        for seed in range(50)
        if len((head := suggest_head(ProbeTrial(seed=seed), activation="gelu")).layers) == 3
    )

    assert len({layer.units for layer in head.layers}) == 3
    assert len({layer.dropout for layer in head.layers}) == 3
    assert {layer.activation for layer in head.layers} == {"gelu"}
    assert {len(suggest_head(ProbeTrial(seed=n), activation="relu").layers) for n in range(30)} == {
        0,
        1,
        2,
        3,
    }


def test_every_stage_may_have_its_own_block() -> None:
    networks = [candidate.model for _, candidate in explore(blocks, draws=40)]
    kinds = [
        [part.kind for part in network.components() if part.kind in BLOCKS][1:]
        for network in networks
    ]

    assert {kind for network in kinds for kind in network} == set(BLOCKS)
    assert {len(network) for network in kinds} == {2, 3, 4}
    assert any(len(set(network)) == len(network) == 4 for network in kinds)


def test_stochastic_depth_rises_with_depth() -> None:
    probe = ProbeTrial("highest", seed=1)
    network = blocks(probe).model

    rates = [
        part.stochastic_depth for part in network.components() if hasattr(part, "stochastic_depth")
    ]

    assert len(rates) > 1
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.3)
    assert rates[0] < 0.3


def test_the_names_in_the_space_are_the_blocks_own() -> None:
    assert {name: block.kind for name, block in BLOCKS.items()} == {name: name for name in BLOCKS}
