"""A process that trains a candidate on random images and reports its speed.

`measurement` starts it as `python -m search.sizing.timing_program FILE_DESCRIPTOR` and talks to
it over that connection. It measures `search.training.fit`, which trials run too.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import numpy as np

from search.errors import TrialFailure
from search.sizing.messages import Failed, Loaded, Round, Task
from search.system.streams import escape_unencodable
from search.training.listener import Listener

if TYPE_CHECKING:
    from cnn_blocks.config import InputSpec
    from search.data import Split, Subset
    from search.training.features.source import FeatureSource
    from spaces.candidate import Candidate

_SEED = 0
# More distinct images would not change the speed; the subset repeats these.
_DIFFERENT_IMAGES = 256
_STEPS_PER_EPOCH = 64
# Never reached: the parent ends the training.
_EPOCHS = 1000
# The rate does not change the speed, and a low one cannot diverge on random labels.
_LEARNING_RATE = 1e-6
_WARM_UP_SECONDS = 0.5


class _Ended(Exception):
    """Ends the training."""


def main(descriptor: int) -> None:
    """Runs each round that the parent sends, until the connection is closed."""
    # Ctrl-C reaches the whole process group, but only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    escape_unencodable()
    connection = Connection(descriptor)
    training = _load(connection.recv())
    connection.send(_describe(training))
    while True:
        try:
            measured: Round = connection.recv()
        except EOFError:
            return
        _train(connection, measured, training)


@dataclass(frozen=True)
class _Training:
    candidate: "Candidate"
    spec: "InputSpec"
    images: "Subset"
    features: "FeatureSource"


def _load(task: Task) -> _Training:
    from cnn_blocks.config import InputSpec
    from cnn_blocks.source_files import load_source
    from search.system.runtime import start_keras
    from search.training.features.source import FeatureSource
    from spaces.candidate import Candidate

    start_keras()
    for source in task.sources:
        load_source(source)
    # The last phase is the most expensive one.
    candidate = Candidate.from_json(task.candidate).phases()[-1].candidate
    candidate = candidate.with_training(
        epochs=_EPOCHS, early_stopping=None, learning_rate=_LEARNING_RATE
    )
    spec = InputSpec.model_validate_json(task.spec)
    split = _random_split(spec)
    repeated = np.arange(candidate.training.batch_size * _STEPS_PER_EPOCH) % _DIFFERENT_IMAGES
    return _Training(
        candidate=candidate,
        spec=spec,
        images=replace(split.development, indices=repeated),
        features=FeatureSource(split, cache_directory=task.folder),
    )


def _random_split(spec: "InputSpec") -> "Split":
    """Returns a split of random images, all in the development subset."""
    from search.data import Dataset, Decoding, Split, Subset
    from search.data.dataset import Arrays

    generator = np.random.default_rng(_SEED)
    images = generator.integers(0, 256, (_DIFFERENT_IMAGES, *spec.image_shape), dtype=np.uint8)
    labels = generator.integers(0, spec.classes, _DIFFERENT_IMAGES)
    rows = np.arange(_DIFFERENT_IMAGES)
    everything, nothing = Subset(images, labels, rows), Subset(images, labels, rows[:0])
    dataset = Dataset(
        name="random",
        source="random",
        class_names=spec.class_names,
        fingerprint="random",
        image_shape=spec.image_shape,
        decoding=Decoding(size=spec.image_shape[:2], fit="stretch"),
        notes=(),
        leaked_images=0,
        arrays=Arrays(images, labels, rows, 0, None, None),
    )
    return Split(dataset, _SEED, {}, everything, nothing, everything, nothing)


def _describe(training: _Training) -> Loaded:
    import psutil

    from cnn_blocks.build import describe_model
    from search.system.runtime import device_kind
    from search.training.feasibility import estimate_memory

    candidate = training.candidate
    return Loaded(
        on_gpu=device_kind() == "gpu",
        process_memory=psutil.Process().memory_info().rss,
        training_memory=estimate_memory(
            describe_model(candidate.model, training.spec),
            candidate.training,
            on_features=training.features.suits(candidate),
        ),
    )


def _train(connection: Connection, measured: Round, training: _Training) -> None:
    import keras

    from search.training import fit

    stopwatch = _Stopwatch(connection, measured.seconds, len(training.images))
    try:
        fit(
            training.candidate,
            training.images,
            spec=training.spec,
            seed=_SEED,
            listener=stopwatch,
            compute=measured.compute,
            features=training.features,
        )
    except _Ended:
        pass
    except TrialFailure as failure:
        if not stopwatch.told:
            connection.send(Failed(str(failure)))
        # The parent ends the round after all processes have answered.
        while connection.recv() != "stop":
            connection.send(Failed(str(failure)))
    keras.utils.clear_session()


class _Stopwatch(Listener):
    """Reports when a training is warm, waits for the other processes, and counts images."""

    def __init__(self, connection: Connection, seconds: float, images_per_epoch: int) -> None:
        self._connection = connection
        self._seconds = seconds
        self._images_per_epoch = images_per_epoch
        self._first: float | None = None
        self._began: tuple[float, float] | None = None
        self.told = False

    def on_progress(self, epoch: float, epochs: float, metrics: Mapping[str, float]) -> None:
        """Called at the end of a step, a few times a second."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        elif self.told:
            # Keep training until the parent answers: an idle core would speed up the others.
            if self._connection.poll():
                self._begin(epoch)
        elif self._began is not None:
            seconds = now - self._began[0]
            if seconds >= self._seconds:
                images = (epoch - self._began[1]) * self._images_per_epoch
                self._connection.send(images / seconds)
                self.told = True
        elif now - self._first >= _WARM_UP_SECONDS:
            self._connection.send("warm")
            self._begin(epoch)

    def _begin(self, epoch: float) -> None:
        """Waits until the parent starts a window or ends the round."""
        if self._connection.recv() == "stop":
            raise _Ended
        self._began, self.told = (time.perf_counter(), epoch), False


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stderr.flush()
    # Not sys.exit, because the framework's threads may take seconds to stop.
    os._exit(0)
