"""Times the training and the validation of one network in this process."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search.system import runtime
from search.training.prediction import predict_in_batches, prediction_batch_of

if TYPE_CHECKING:
    from cnn_blocks.config import InputSpec
    from spaces.candidate import Candidate

# More distinct images would not change the time.
_DIFFERENT_IMAGES = 512
_FEWEST_STEPS = 3
# The first steps allocate memory and fill the input pipeline.
_WARM_UP_STEPS = 2
_WARM_UP_SHARE = 0.2
_WINDOWS = 3


@dataclass(frozen=True)
class Timed:
    """Seconds for one training step, until the end of the first step, and to validate one image.

    `validation` is None if it was not timed. The `_processor` fields are CPU seconds of all
    threads; other programs hardly affect them.
    """

    step: float
    compiling: float
    validation: float | None = None
    step_processor: float | None = None
    compiling_processor: float | None = None
    validation_processor: float | None = None


def time_training(
    candidate: "Candidate",
    spec: "InputSpec",
    *,
    compute: runtime.Compute,
    seconds: float,
    validate: bool = True,
) -> Timed:
    """Trains a candidate on random images for about `seconds` after its first step.

    Steps are the same as in a trial: training network, input pipeline, and a check of the loss
    after each step. Weights are random even for pretrained networks. Keras must have started.
    """
    from cnn_blocks.build import build_model
    from search.training.callbacks import StopOnNonFiniteLoss
    from search.training.timed_steps import compile_for_training, now, time_steps

    policy = runtime.dtype_policy(compute.precision)
    images = _random_images(spec, candidate.training.batch_size)
    # The rate does not change the time, and a low one keeps random labels from diverging.
    settings = candidate.with_training(learning_rate=1e-6, compilation=None).training
    began = now()
    network = build_model(candidate.model, spec, seed=0, dtype_policy=policy, pretrained=False)
    trainer = compile_for_training(network, settings, policy=policy, xla=compute.xla)
    ends = time_steps(
        trainer,
        images,
        batch_size=settings.batch_size,
        seed=0,
        untimed=1,
        fewest=_WARM_UP_STEPS + _FEWEST_STEPS + 1,
        most=10**9,
        seconds=seconds,
        callbacks=[StopOnNonFiniteLoss()],
    )
    step, step_processor = np.diff(ends, axis=0).T.tolist()
    validation = _time_validation(trainer.to_logits, images.images) if validate else (None, None)
    return Timed(
        step=fastest_window(step),
        compiling=ends[0][0] - began[0],
        validation=validation[0],
        step_processor=statistics.median(step_processor[_WARM_UP_STEPS:]),
        compiling_processor=ends[0][1] - began[1],
        validation_processor=validation[1],
    )


def fastest_window(durations: Sequence[float]) -> float:
    """Returns the median step of the fastest window, because disturbances only slow steps down."""
    warm = max(_WARM_UP_STEPS, int(len(durations) * _WARM_UP_SHARE))
    steps = list(durations[warm:]) or list(durations)
    length = max(1, len(steps) // _WINDOWS)
    windows = [steps[start : start + length] for start in range(0, len(steps), length)]
    return float(min(statistics.median(window) for window in windows if len(window) == length))


def _random_images(spec: "InputSpec", batch_size: int) -> Any:
    from search.data import Subset

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_DIFFERENT_IMAGES, *spec.image_shape), dtype=np.uint8)
    labels = generator.integers(0, spec.classes, _DIFFERENT_IMAGES)
    rows = np.arange(max(_DIFFERENT_IMAGES, 4 * batch_size)) % _DIFFERENT_IMAGES
    return Subset(images, labels, rows)


def _time_validation(to_logits: Any, images: Any) -> tuple[float, float]:
    """Returns wall-clock and CPU seconds per image of the faster of two passes over a batch."""
    from search.training.timed_steps import now

    batch = images[: min(len(images), prediction_batch_of(to_logits))]
    spent = []
    for _ in range(3):
        began = now()
        predict_in_batches(to_logits, batch, batch_size=len(batch))
        spent.append((np.array(now()) - began) / len(batch))
        if len(spent) > 1 and spent[-1][0] * len(batch) > 1.0:
            break
    # The first pass compiles.
    fastest = np.min(spent[1:], axis=0)
    return float(fastest[0]), float(fastest[1])
