"""What the tests of networks share: a small specification and a small network."""

import pytest

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled


@pytest.fixture
def cifar10_spec() -> InputSpec:
    """32x32 images of ten classes."""
    return InputSpec(image_shape=(32, 32, 3), class_names=tuple("0123456789"))


@pytest.fixture
def small_model() -> ModelConfig:
    """One stage of four filters."""
    return ModelConfig(
        preprocessing="standardize",
        backbone=Staged(stages=(Stage(block=Plain(filters=4)),)),
        head=Pooled(),
    )
