"""Real digits as subsets, and a tiny network to train on them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.data import Subset
from spaces.candidate import Candidate, TrainingConfig


@pytest.fixture(scope="session")
def digits() -> tuple[Subset, Subset]:
    """Training and validation digits (512 and 256), 16x16 pixels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    pixels = np.repeat(grey.repeat(2, axis=1).repeat(2, axis=2)[..., np.newaxis], 3, axis=-1)
    order = np.random.default_rng(0).permutation(len(labels)).astype(np.int64)
    labels = labels.astype(np.int64)
    return Subset(pixels, labels, order[:512]), Subset(pixels, labels, order[512:768])


@pytest.fixture(scope="session")
def contrary(digits: tuple[Subset, Subset]) -> Subset:
    """Validation digits with wrong labels: the better the network, the higher the loss."""
    images, labels = digits[1].images, digits[1].labels
    return Subset(images, (labels + 1) % 10, digits[1].indices)


@pytest.fixture(scope="session")
def spec() -> InputSpec:
    """The input specification of the digits."""
    return InputSpec(image_shape=(16, 16, 3), class_names=tuple("0123456789"))


@pytest.fixture(scope="session")
def candidate() -> Callable[..., Candidate]:
    """Makes a candidate of two stages with the given network and training settings."""

    def make(
        *,
        filters: int = 8,
        depth: int = 1,
        dropout: float = 0.0,
        normalization: str = "batch",
        **training: Any,
    ) -> Candidate:
        block = Plain.model_validate({"filters": filters, "normalization": normalization})
        stage = Stage(block=block, depth=depth, place="first", dropout=dropout)
        settings = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01} | training
        return Candidate(
            model=ModelConfig(
                preprocessing="standardize",
                backbone=Staged(stages=(stage, stage)),
                head=Pooled(pooling="flatten"),
            ),
            training=TrainingConfig(**settings),
        )

    return make
