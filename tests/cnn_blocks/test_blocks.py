"""The blocks: layers and parameters as in their papers, and shortcuts that add nothing else."""

from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.bottleneck_residual import BottleneckResidual
from cnn_blocks.blocks.convnext import Convnext
from cnn_blocks.blocks.depthwise_separable import DepthwiseSeparable
from cnn_blocks.blocks.inverted_residual import InvertedResidual
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.blocks.preactivation_residual import PreactivationResidual
from cnn_blocks.blocks.residual import Residual
from cnn_blocks.blocks.vgg import Vgg
from cnn_blocks.build import build_model, describe_model
from cnn_blocks.config import Block, InputSpec, ModelConfig, Reduction
from cnn_blocks.heads.pooled import Pooled


def _model(block: Block, channels: int, **call: Any) -> Any:
    import keras

    # With unlucky weights, a small branch could be inactive.
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, channels))
    return keras.Model(inputs, block(inputs, **call))


# Weights of convolutions, then of normalisations: 4 per channel for batch, 2 for layer.
@pytest.mark.parametrize(
    ("block", "channels", "parameters"),
    [
        (Vgg(filters=8), 4, 9 * 4 * 8 + 9 * 8 * 8 + 4 * 16),
        (Vgg(filters=8, convolutions=3), 4, 9 * 4 * 8 + 2 * 9 * 8 * 8 + 4 * 24),
        (Residual(filters=8), 8, 2 * 9 * 8 * 8 + 4 * 16),
        (Residual(filters=8), 4, 9 * 4 * 8 + 9 * 8 * 8 + 4 * 8 + 4 * 24),
        (PreactivationResidual(filters=8), 8, 2 * 9 * 8 * 8 + 4 * 16),
        (PreactivationResidual(filters=8), 4, 9 * 4 * 8 + 9 * 8 * 8 + 4 * 8 + 4 * (4 + 8)),
        (BottleneckResidual(filters=64), 64, 64 * 16 + 9 * 16**2 + 16 * 64 + 4 * 96),
        (
            BottleneckResidual(filters=64, preactivation=True),
            64,
            64 * 16 + 9 * 16**2 + 16 * 64 + 4 * (64 + 16 + 16),
        ),
        # The second layer of MobileNet.
        (DepthwiseSeparable(filters=64), 32, 9 * 32 + 32 * 64 + 4 * 96),
        # The second block of EfficientNet-B0's second stage.
        (
            InvertedResidual(filters=24, expansion=6),
            24,
            2 * 24 * 144 + 9 * 144 + 144 * 6 + 6 + 6 * 144 + 144 + 4 * (144 + 144 + 24),
        ),
        # A block of ConvNeXt-T's first stage, without layer scale and redundant biases.
        (Convnext(filters=96), 96, 49 * 96 + 2 * 4 * 96 * 96 + 4 * 96 + 2 * 96),
    ],
    ids=lambda value: value.kind if isinstance(value, Block) else None,
)
def test_a_block_has_the_parameters_of_its_layers(
    block: Block, channels: int, parameters: int
) -> None:
    assert _model(block, channels).count_params() == parameters


@pytest.mark.parametrize(
    "block",
    [
        PreactivationResidual(filters=6),
        BottleneckResidual(filters=6, bottleneck=2, preactivation=True),
        InvertedResidual(filters=6),
        Convnext(filters=6, normalization="batch"),
    ],
    ids=lambda block: block.kind,
)
@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_a_branch_of_zeros_leaves_the_shortcut_as_it_is(block: Block, normalization: str) -> None:
    model = _model(block.model_copy(update={"normalization": normalization}), 6)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 6)).astype(np.float32)

    assert not np.allclose(np.asarray(model(images)), images, atol=1e-3)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    np.testing.assert_allclose(np.asarray(model(images)), images, atol=1e-6)


@pytest.mark.parametrize("block", [Residual(filters=6), BottleneckResidual(filters=6)], ids=str)
def test_activation_behind_the_addition_sees_the_shortcut(block: Block) -> None:
    model = _model(block, 6)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 6)).astype(np.float32)

    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])

    np.testing.assert_allclose(np.asarray(model(images)), np.maximum(images, 0), atol=1e-6)


def test_a_vgg_block_is_a_stage_of_plain_blocks(cifar10_spec: InputSpec) -> None:
    fields: dict[str, Any] = {"filters": 8, "activation": "gelu", "order": "after"}
    stages = (
        Stage(block=Vgg(convolutions=3, **fields), reduction="average"),
        Stage(block=Plain(**fields), depth=3, reduction="average"),
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    first, second = (
        build_model(ModelConfig(backbone=Staged(stages=(stage,)), head=Pooled()), cifar10_spec)
        for stage in stages
    )
    second.set_weights(first.get_weights())

    np.testing.assert_allclose(np.asarray(first(images)), np.asarray(second(images)), atol=1e-6)


@pytest.mark.parametrize(
    "block",
    [
        Residual(filters=6, stochastic_depth=1 - 1e-6),
        PreactivationResidual(filters=6, stochastic_depth=1 - 1e-6),
        BottleneckResidual(filters=6, bottleneck=2, stochastic_depth=1 - 1e-6),
        InvertedResidual(filters=6, stochastic_depth=1 - 1e-6),
        Convnext(filters=6, stochastic_depth=1 - 1e-6),
    ],
    ids=lambda block: block.kind,
)
def test_stochastic_depth_skips_the_branch_in_training_only(block: Block) -> None:
    model = _model(block, 6)
    images = np.random.default_rng(0).uniform(1, 2, (2, 8, 8, 6)).astype(np.float32)

    np.testing.assert_allclose(np.asarray(model(images, training=True)), images, atol=1e-6)
    assert not np.allclose(np.asarray(model(images, training=False)), images, atol=1e-2)


def test_without_a_shortcut_no_branch_is_dropped() -> None:
    model = _model(InvertedResidual(filters=8, stochastic_depth=0.5), 6)

    assert not any("dropout" in layer.name for layer in model.layers)


@pytest.mark.parametrize("reduction", ["max", "average", "stride"])
def test_a_shortcut_reduces_as_its_branch_does_at_odd_sizes(reduction: Reduction) -> None:
    import keras

    side = 4 if reduction == "stride" else 3
    for channels in (6, 4):
        inputs = keras.Input((7, 7, channels))
        for block in (Residual(filters=6), BottleneckResidual(filters=6, preactivation=True)):
            assert block(inputs, reduction=reduction).shape == (None, side, side, 6)


def test_depthwise_kernels_are_penalised_like_others() -> None:
    model = _model(DepthwiseSeparable(filters=8, l2=0.1), 4)
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]

    penalty = sum(float(0.1 * np.square(np.asarray(kernel)).sum()) for kernel in kernels)

    assert len(kernels) == 2
    assert sum(map(float, model.losses)) == pytest.approx(penalty, rel=1e-5)


def test_a_network_of_one_block_describes_itself_with_its_kind(cifar10_spec: InputSpec) -> None:
    backbone = Staged(stages=(Stage(block=Convnext(filters=8)),))

    assert backbone.summary() == "convnext gelu 8"
    assert describe_model(ModelConfig(backbone=backbone, head=Pooled()), cifar10_spec)
