"""The seeds of random layers."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec
from spaces.candidate import Candidate


def test_random_layers_follow_from_seed_and_epoch_alone(
    spec: InputSpec, candidate: Callable[..., Candidate]
) -> None:
    from search.training.callbacks import SeedEpochs
    from search.training.network import TrainingNetwork, seed_generators

    augmentation = Augmentation(horizontal_flip=True, crop_padding=2, mixup=0.2)
    made = candidate(dropout=0.2, augmentation=augmentation)

    def states(*, seed: int, epochs: list[int]) -> npt.NDArray[np.int64]:
        trainer = TrainingNetwork(build_model(made.model, spec), made.training, None)
        callback = SeedEpochs(seed)
        callback.set_model(trainer)
        for epoch in epochs:
            callback.on_epoch_begin(epoch)
        return np.array([generator.state for generator in seed_generators(trainer)])

    third = states(seed=1, epochs=[3])

    # Two dropouts and three augmentations, each with its own seed.
    assert len({tuple(state) for state in third}) == 5
    assert (states(seed=1, epochs=[0, 1, 2, 3]) == third).all()
    assert not (states(seed=1, epochs=[4]) == third).all(axis=1).any()
    assert not (states(seed=2, epochs=[3]) == third).all(axis=1).any()


def test_a_perfect_loss_has_no_sign() -> None:
    from search.training.callbacks import _floats

    floats = _floats({"loss": np.float32(-0.0), "learning_rate": 0.1})

    assert str(floats) == "{'loss': 0.0}"
