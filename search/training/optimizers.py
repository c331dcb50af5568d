"""Optimizers and learning-rate schedules from a training configuration."""

import copy
import math
from typing import Any

import keras
from keras import ops

from search.training.muon import Muon
from spaces.candidate import TrainingConfig


def make_optimizer(
    training: TrainingConfig, total_steps: int = 1, *, policy: str = "float32"
) -> Any:
    """Returns the Keras optimizer with its schedule spread over `total_steps`.

    `set_total_steps` can change them before training begins. The optimizer of a model that was
    compiled by its author keeps its own schedule. `policy` is the network's dtype policy; in
    float16, small gradients would become zero without loss scaling.
    """
    optimizer = _make_optimizer(training, total_steps, policy)
    # Keras wraps it only if the model's own policy is mixed_float16; the training wrapper's is not.
    if policy == "mixed_float16" and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _make_optimizer(training: TrainingConfig, total_steps: int, policy: str) -> Any:
    if training.compilation is not None:
        return keras.optimizers.deserialize(copy.deepcopy(training.compilation.optimizer))
    rate = make_schedule(training, total_steps)
    clip = training.clip_norm
    if training.optimizer == "adam":
        return keras.optimizers.Adam(rate, global_clipnorm=clip)
    decay = training.weight_decay or None
    optimizer: keras.optimizers.Optimizer
    if training.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay or 0.0, global_clipnorm=clip)
    elif training.optimizer == "muon":
        optimizer = Muon(
            rate,
            weight_decay=decay,
            adam_weight_decay=decay,
            global_clipnorm=clip,
            matrix_dtype="bfloat16" if policy == "mixed_bfloat16" else "float32",
        )
    else:
        optimizer = keras.optimizers.SGD(
            rate,
            momentum=training.momentum,
            nesterov=True,
            weight_decay=decay,
            global_clipnorm=clip,
        )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def make_schedule(training: TrainingConfig, total_steps: int) -> Any:
    """Returns a float for "constant" and "plateau", else a Keras schedule."""
    if training.schedule in ("constant", "plateau"):
        return training.learning_rate
    return _Schedule(
        shape=training.schedule,
        peak=training.learning_rate,
        warmup=training.warmup,
        total_steps=total_steps,
    )


def set_total_steps(trainer: keras.Model, total_steps: int) -> None:
    """Spreads the schedule of a compiled model's optimizer over `total_steps`."""
    optimizer = trainer.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = optimizer._learning_rate
    if isinstance(schedule, _Schedule):
        schedule.total_steps.assign(total_steps)
        if keras.backend.backend() == "jax" and trainer.train_function is not None:
            # JAX compiled the old number into the step as a constant.
            trainer.make_train_function(force=True)


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    def __init__(self, *, shape: str, peak: float, warmup: float, total_steps: int) -> None:
        self.shape = shape
        self.peak = peak
        self.warmup = warmup
        # A variable, because a step may be compiled before the length of the training is known.
        self.total_steps = keras.Variable(
            float(total_steps), dtype="float32", trainable=False, name="total_steps"
        )

    def __call__(self, step: Any) -> Any:
        # Half a step further, so that neither the first nor the last step has a rate of zero.
        position = ops.cast(step, "float32") + 0.5
        total = ops.convert_to_tensor(self.total_steps)
        warmup_steps = self.warmup * total
        rising = ops.minimum(1.0, position / ops.maximum(warmup_steps, 0.5))
        remaining = ops.maximum(total - warmup_steps, 1.0)
        progress = ops.clip((position - warmup_steps) / remaining, 0.0, 1.0)
        if self.shape == "step":
            whole = position / total
            drops = ops.cast(whole >= 0.5, "float32") + ops.cast(whole >= 0.75, "float32")
            return self.peak * rising * 0.1**drops
        if self.shape == "one_cycle":
            # Starts at a 25th of the peak, as Smith's policy does.
            rising = 0.04 + 0.96 * 0.5 * (1 - ops.cos(math.pi * rising))
        return self.peak * rising * 0.5 * (1 + ops.cos(math.pi * progress))

    def get_config(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "peak": self.peak,
            "warmup": self.warmup,
            "total_steps": float(ops.convert_to_numpy(self.total_steps)),
        }
