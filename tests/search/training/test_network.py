"""What is trained: the network with its augmentation."""

from collections.abc import Callable

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
