"""Measures how long `fit` and `predict` need to return after their last batch: Keras versus ours.

    python benchmarks/input_pipeline.py

TensorFlow autotunes the data sets that Keras creates, in a thread. When a data set ends, the thread
may miss it, and TensorFlow waits until the thread wakes up, at 0.01 x (2^n - 1) seconds after its
first wake-up: a run of six seconds then takes four more. Whether that happens is random, and more
likely on busy cores. Keras' way and ours alternate in one process. Takes about five minutes on 2
CPU cores. The result is written to benchmarks/results/input_pipeline.json.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import typer

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.data import Subset
from search.system.runtime import cpu_name, start_keras
from search.training.batches import as_input, training_batches
from search.training.prediction import predict_in_batches
from spaces.candidate import TrainingConfig
from spaces.stages import staged

RESULTS = Path(__file__).parent / "results"
FILTERS = (16, 32, 64)
IMAGES = 4096
BATCH_SIZE = 256
STEPS_PER_EPOCH = 4
# Seconds after the last batch; a call that is not late returns within a fraction of a second.
LATE = 1.0
STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "median": median,
    "mean": fmean,
    "most": max,
}

Measured = dict[str, float]


def main(repeats: int = 10, fit_seconds: float = 6.0, predict_seconds: float = 6.0) -> None:
    """Measures both ways in turn and stores all figures."""
    start_keras()
    subset = random_subset()
    trainer = make_trainer()
    runs = {
        "fit": measure(fits(trainer, subset, fit_seconds), repeats),
        "predict": measure(predictions(trainer.to_logits, subset, predict_seconds), repeats),
    }
    record = {
        "command": " ".join(["python benchmarks/input_pipeline.py", *sys.argv[1:]]),
        "network": {"filters": FILTERS, "batch_size": BATCH_SIZE, "image_shape": [32, 32, 3]},
        "runs": runs,
        "environment": {
            "load": os.getloadavg()[1],
            "processor": cpu_name(),
            "cores": os.cpu_count(),
            "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        },
    }
    path = RESULTS / "input_pipeline.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(path)


def random_subset() -> Subset:
    """Returns random images."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    return Subset(images, generator.integers(0, 10, IMAGES), np.arange(IMAGES))


def make_trainer() -> Any:
    """Returns a small network, compiled as in a trial."""
    from search.training.network import TrainingNetwork

    backbone = staged(
        Plain(), filters=FILTERS, depth=1, reduction="max", place="first", dropout=[0.0] * 3
    )
    spec = InputSpec(image_shape=(32, 32, 3), class_names=tuple("0123456789"))
    network = build_model(ModelConfig(backbone=backbone, head=Pooled()), spec)
    trainer = TrainingNetwork(network, TrainingConfig(), None)
    trainer.compile(optimizer="adam", jit_compile=False)
    return trainer


def measure(ways: dict[str, Callable[[], Measured]], repeats: int) -> dict[str, Any]:
    """Returns the figures of each way; the ways alternate."""
    figures: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            measured = {part: round(seconds, 2) for part, seconds in run().items()}
            figures[name].append(measured)
            print(f"{name}: {measured}", flush=True)
    return {
        name: {
            "seconds": each,
            "to_return": {
                name: round(statistic([one["to_return"] for one in each]), 2)
                for name, statistic in STATISTICS.items()
            },
            "late": sum(one["to_return"] > LATE for one in each),
        }
        for name, each in figures.items()
    }


def fits(trainer: Any, subset: Subset, seconds: float) -> dict[str, Callable[[], Measured]]:
    """Returns trainings of about `seconds` seconds, by their input."""
    import keras

    def fit(make_input: Callable[[Any], Any]) -> Measured:
        began = time.perf_counter()
        last = began

        def end_step(batch: int, logs: Any) -> None:
            nonlocal last
            last = time.perf_counter()

        def end_epoch(epoch: int, logs: Any) -> None:
            trainer.stop_training = last - began > seconds

        trainer.fit(
            make_input(training_batches(subset, batch_size=BATCH_SIZE, seed=0, first_step=0)),
            steps_per_epoch=STEPS_PER_EPOCH,
            epochs=10**6,
            verbose=0,
            shuffle=False,
            callbacks=[
                keras.callbacks.LambdaCallback(on_train_batch_end=end_step, on_epoch_end=end_epoch)
            ],
        )
        return _measured(began, last)

    return {"keras": lambda: fit(lambda batches: batches), "as_input": lambda: fit(as_input)}


def predictions(model: Any, subset: Subset, seconds: float) -> dict[str, Callable[[], Measured]]:
    """Returns predictions of about `seconds` seconds, by the function that predicts."""
    import keras

    watched = WatchedModel(model)
    predict_in_batches(watched, subset.images, batch_size=BATCH_SIZE)
    began = time.perf_counter()
    predict_in_batches(watched, subset.images, batch_size=BATCH_SIZE)
    repeated = max(1, round(seconds / (time.perf_counter() - began)))
    images = np.concatenate([subset.images] * repeated)

    def keras_predict() -> Measured:
        last = 0.0

        def end_batch(batch: int, logs: Any) -> None:
            nonlocal last
            last = time.perf_counter()

        callback = keras.callbacks.Callback()
        callback.on_predict_batch_end = end_batch
        began = time.perf_counter()
        model.predict(images, batch_size=BATCH_SIZE, verbose=0, callbacks=[callback])
        return _measured(began, last)

    def our_predict() -> Measured:
        began = time.perf_counter()
        predict_in_batches(watched, images, batch_size=BATCH_SIZE)
        return _measured(began, watched.last)

    return {"keras": keras_predict, "predict_in_batches": our_predict}


class WatchedModel:
    """Records when its last batch was predicted."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.last = 0.0

    def predict_on_batch(self, images: Any) -> Any:
        """Predicts a batch with the model."""
        outputs = self.model.predict_on_batch(images)
        self.last = time.perf_counter()
        return outputs


def _measured(began: float, last: float) -> Measured:
    measured = {"batches": last - began, "to_return": time.perf_counter() - last}
    # Delete this run's data sets now, not during the next run.
    gc.collect()
    return measured


if __name__ == "__main__":
    typer.run(main)
