"""Stages: both kinds of dropout, and the layers after the last pre-activation block."""

from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.bottleneck_residual import BottleneckResidual
from cnn_blocks.blocks.convnext import Convnext
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.blocks.preactivation_residual import PreactivationResidual
from cnn_blocks.config import Block


def _model(backbone: Any) -> Any:
    import keras

    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, backbone(inputs))


@pytest.mark.parametrize("kind", ["plain", "spatial"])
def test_spatial_dropout_drops_whole_channels(kind: str) -> None:
    import keras

    keras.utils.set_random_seed(0)
    block = Plain(filters=32, normalization="none", activation="linear")
    model = _model(Stage(block=block, reduction="none", dropout=0.5, dropout_kind=kind))
    images = np.random.default_rng(0).uniform(1, 2, (4, 8, 8, 3)).astype(np.float32)

    dropped = (np.asarray(model(images, training=True)) == 0).mean(axis=(1, 2))

    assert 0.35 < dropped.mean() < 0.65
    assert (set(np.unique(dropped)) == {0.0, 1.0}) == (kind == "spatial")


@pytest.mark.parametrize(
    ("block", "ends"),
    [
        (PreactivationResidual(filters=4), ["batch_normalization", "activation"]),
        (BottleneckResidual(filters=4, preactivation=True), ["batch_normalization", "activation"]),
        (Convnext(filters=4), ["layer_normalization"]),
        (BottleneckResidual(filters=4), []),
        (Plain(filters=4), []),
    ],
    ids=lambda value: value.kind if isinstance(value, Block) else None,
)
def test_the_last_block_alone_is_finished(block: Block, ends: list[str]) -> None:
    stage = Stage(block=block, depth=2, reduction="none")
    backbone = _model(Staged(stages=(stage, stage)))
    unfinished = _model(lambda x: stage(stage(x)))

    added = backbone.layers[len(unfinished.layers) :]

    assert [layer.name.rstrip("_0123456789") for layer in added] == ends
