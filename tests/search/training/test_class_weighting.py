"""Class weights: the choice for a study, and their values."""

from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.data import Subset
from search.training.class_weighting import choose_class_weights
from search.training.phase import class_weights
from spaces.candidate import Candidate, TrainingConfig

EQUAL, UNEQUAL = np.array([20, 20, 18]), np.array([95, 5, 40])


@pytest.mark.parametrize(
    ("metric", "weights", "words"),
    [
        ("accuracy", None, "auto sets none, because weights do not improve accuracy"),
        ("auc", None, "do not improve AUC"),
        ("balanced_accuracy", "balanced", "auto sets balanced"),
        ("macro_f1", "square_root", "weights improve macro F1"),
    ],
)
def test_auto_weights_unequal_classes_where_the_metric_gains(
    metric: str, weights: str | None, words: str
) -> None:
    found, reason = choose_class_weights("auto", metric=metric, counts=UNEQUAL)

    assert found == weights and words in reason


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_auto_says_nothing_about_equal_classes(metric: str) -> None:
    assert choose_class_weights("auto", metric=metric, counts=EQUAL) == (None, "")


def test_what_is_asked_for_counts() -> None:
    asked: Any
    for asked in ("none", "balanced"):
        found, reason = choose_class_weights(asked, metric="accuracy", counts=EQUAL)
        assert found == asked and "as requested" in reason
    assert choose_class_weights(None, metric="macro_f1", counts=UNEQUAL) == (None, "")


@pytest.mark.parametrize("weights", ["square_root", "balanced"])
def test_the_mean_weight_over_the_images_is_one(weights: str) -> None:
    labels = np.repeat(np.arange(3), UNEQUAL)
    images = np.zeros((len(labels), 4, 4, 3), np.uint8)
    subset = Subset(images, labels, np.arange(len(labels)))
    spec = InputSpec(image_shape=(4, 4, 3), class_names=("a", "b", "c"))
    candidate = Candidate(
        model=ModelConfig(backbone=Staged(stages=(Stage(block=Plain()),)), head=Pooled()),
        training=TrainingConfig(class_weights=weights),
    )

    found = class_weights(candidate, subset, spec)

    assert found is not None and found[labels].mean() == pytest.approx(1.0)
    ratio = 95 / 5 if weights == "balanced" else (95 / 5) ** 0.5
    assert found[1] / found[0] == pytest.approx(ratio)
    if weights == "balanced":
        assert found == pytest.approx(len(labels) / (3 * UNEQUAL))
