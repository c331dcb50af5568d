"""The training wrapper: the network with its augmentation."""

from collections.abc import Callable

import numpy as np
import pytest

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec
from spaces.candidate import Candidate


@pytest.mark.parametrize(
    ("augmentation", "supported"),
    [
        (Augmentation(), True),
        (Augmentation(horizontal_flip=True), True),
        (Augmentation(crop_padding=2), False),
        (Augmentation(mixup=0.2), False),
    ],
    ids=["none", "flip", "crop", "mixup"],
)
def test_xla_is_for_layers_that_support_it(
    augmentation: Augmentation,
    supported: bool,
    spec: InputSpec,
    candidate: Callable[..., Candidate],
) -> None:
    from search.training.network import TrainingNetwork

    settings = candidate(augmentation=augmentation)
    network = build_model(settings.model, spec)

    trainer = TrainingNetwork(network, settings.training, None)

    assert trainer.supports_xla is supported


def test_class_weights_count_mixed_labels_by_their_shares(
    spec: InputSpec, candidate: Callable[..., Candidate]
) -> None:
    from search.training.network import TrainingNetwork

    settings = candidate(label_smoothing=0.1)
    weights = np.arange(1, 11, dtype=np.float32)
    network = build_model(settings.model, spec)
    plain, weighted = (
        TrainingNetwork(network, settings.training, given) for given in (None, weights)
    )
    mixed = np.zeros((1, 10), np.float32)
    mixed[0, [0, 9]] = 0.75, 0.25
    predicted = {"labels": mixed, "logits": np.linspace(-1, 1, 10, dtype=np.float32)[None]}

    ratio = float(weighted.compute_loss(y_pred=predicted) / plain.compute_loss(y_pred=predicted))

    assert ratio == pytest.approx(0.75 * 1 + 0.25 * 10, rel=1e-5)
