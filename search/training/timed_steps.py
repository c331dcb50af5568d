"""Compiles a network for training and times its steps."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from search.system import runtime
from search.training.batches import as_input, training_batches
from search.training.network import TrainingNetwork
from search.training.optimizers import make_optimizer
from spaces.candidate import TrainingConfig

if TYPE_CHECKING:
    from search.data import Subset
    from search.training.features.source import FeatureSubset


def compile_for_training(
    network: keras.Model,
    settings: TrainingConfig,
    *,
    policy: str,
    xla: runtime.Xla,
    class_weights: npt.NDArray[np.float32] | None = None,
) -> TrainingNetwork:
    """Returns the training wrapper of a network, compiled and with its optimizer built."""
    trainer = TrainingNetwork(network, settings, class_weights)
    trainer.compile(
        optimizer=make_optimizer(settings, policy=policy),
        # Keras would fall back too, with a warning. Only users who set XLA to "on" should see it.
        jit_compile=runtime.jit_compile(xla) and (xla == "on" or trainer.supports_xla),
    )
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def time_steps(
    trainer: TrainingNetwork,
    train: "Subset | FeatureSubset",
    *,
    batch_size: int,
    seed: int,
    untimed: int,
    fewest: int,
    most: int,
    seconds: float,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> list[tuple[float, float]]:
    """Trains until `seconds` after the first `untimed` steps, and returns when each step ended.

    Each pair holds wall-clock seconds and this process's CPU seconds. There are at least `fewest`
    and at most `most` steps.
    """
    stopwatch = _Stopwatch(untimed=untimed, fewest=fewest, seconds=seconds)
    trainer.fit(
        as_input(training_batches(train, batch_size=batch_size, seed=seed, first_step=0)),
        steps_per_epoch=most,
        epochs=1,
        verbose=0,
        shuffle=False,
        callbacks=[*callbacks, stopwatch],
    )
    return stopwatch.ends


def now() -> tuple[float, float]:
    """Returns wall-clock seconds and this process's CPU seconds."""
    return time.perf_counter(), time.process_time()


class _Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, *, untimed: int, fewest: int, seconds: float) -> None:
        super().__init__()
        self.untimed = untimed
        self.fewest = fewest
        self.seconds = seconds
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float(logs["loss"])  # waits for the device, which may still be computing
        self.ends.append(now())
        began = self.ends[min(len(self.ends), self.untimed) - 1]
        late = self.ends[-1][0] - began[0] >= self.seconds
        if late and len(self.ends) >= self.fewest:
            self.model.stop_training = True
