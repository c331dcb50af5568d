"""Times the training and the validation of one network in this process."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search import runtime
from search.prediction import predict_in_batches, prediction_batch_of
from search.training.batches import as_input, training_batches

if TYPE_CHECKING:
    from cnn_blocks.config import InputSpec
    from spaces.candidate import Candidate

# More different images would take the same time.
_DIFFERENT_IMAGES = 512
_FEWEST_STEPS = 3
# The first steps allocate memory and fill the input pipeline.
_WARM_UP_STEPS = 2
_WARM_UP_SHARE = 0.2
_WINDOWS = 3


@dataclass(frozen=True)
class Timed:
    """Seconds of one training step, until the end of the first one, and of validating one image.

    `validation` is None if it was not timed.
    """

    step: float
    compiling: float
    validation: float | None


def time_training(
    candidate: "Candidate",
    spec: "InputSpec",
    *,
    precision: runtime.Precision,
    xla: runtime.Xla,
    seconds: float,
    validate: bool = True,
) -> Timed:
    """Trains a candidate on random images for about `seconds` after its first step.

    Steps are those of a trial: training network, input pipeline, and a check of the loss after
    each step. Weights are random even for pretrained networks. Keras must have started.
    """
    import keras

    from cnn_blocks.build import build_model
    from search.training.callbacks import StopOnNonFiniteLoss
    from search.training.network import TrainingNetwork
    from search.training.optimizers import make_optimizer

    policy = runtime.dtype_policy(precision)
    images = _random_images(spec, candidate.training.batch_size)
    # The rate does not change the time, and a low one keeps random labels from diverging.
    settings = candidate.with_training(learning_rate=1e-6, compilation=None).training
    began = time.perf_counter()
    network = build_model(candidate.model, spec, seed=0, dtype_policy=policy, pretrained=False)
    trainer = TrainingNetwork(network, settings, None)
    trainer.compile(
        optimizer=make_optimizer(settings, 10**6, scale_loss=policy == "mixed_float16"),
        jit_compile=runtime.jit_compile(xla) and (xla == "on" or trainer.supports_xla),
    )
    trainer.optimizer.build(trainer.trainable_variables)
    ends: list[float] = []

    def end_step(batch: int, logs: Any) -> None:
        ends.append(time.perf_counter())
        late = ends[-1] - ends[0] >= seconds
        if late and len(ends) > _WARM_UP_STEPS + _FEWEST_STEPS:
            trainer.stop_training = True

    size = settings.batch_size
    trainer.fit(
        as_input(training_batches(images, batch_size=size, seed=0, first_step=0)),
        steps_per_epoch=10**9,
        verbose=0,
        shuffle=False,
        callbacks=[
            StopOnNonFiniteLoss(),
            keras.callbacks.LambdaCallback(on_train_batch_end=end_step),
        ],
    )
    return Timed(
        step=fastest_window(np.diff(ends).tolist()),
        compiling=ends[0] - began,
        validation=_time_validation(trainer.to_logits, images.images) if validate else None,
    )


def fastest_window(durations: Sequence[float]) -> float:
    """Returns the median step of the fastest window, because disturbances only slow a step down."""
    warm = max(_WARM_UP_STEPS, int(len(durations) * _WARM_UP_SHARE))
    steps = list(durations[warm:]) or list(durations)
    length = max(1, len(steps) // _WINDOWS)
    windows = [steps[start : start + length] for start in range(0, len(steps), length)]
    return float(min(statistics.median(window) for window in windows if len(window) == length))


def _random_images(spec: "InputSpec", batch_size: int) -> Any:
    from search.data import Share

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_DIFFERENT_IMAGES, *spec.image_shape), dtype=np.uint8)
    labels = generator.integers(0, spec.classes, _DIFFERENT_IMAGES)
    rows = np.arange(max(_DIFFERENT_IMAGES, 4 * batch_size)) % _DIFFERENT_IMAGES
    return Share(images, labels, rows)


def _time_validation(to_logits: Any, images: Any) -> float:
    """Returns seconds per image of the faster of two passes over one batch."""
    batch = images[: min(len(images), prediction_batch_of(to_logits))]
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        predict_in_batches(to_logits, batch, batch_size=len(batch))
        spent.append(time.perf_counter() - began)
        if len(spent) > 1 and spent[-1] > 1.0:
            break
    return min(spent[1:]) / len(batch)
