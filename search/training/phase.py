"""One phase of a training: a network is built, compiled and trained for some intervals."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import assign_weights, build_head, build_model
from cnn_blocks.config import InputSpec
from cnn_blocks.pretrained import Pretrained
from search.errors import OutOfMemoryError
from search.progress.clock import Clock
from search.system import runtime
from search.training.batches import as_input, steps_per_epoch, training_batches
from search.training.checkpoint import Arrays, Checkpoint
from search.training.length import Length
from search.training.statistics import recompute_statistics
from search.training.whitening import whiten_first_convolution
from spaces.candidate import Candidate, Phase, TrainingConfig

if TYPE_CHECKING:
    import keras

    from search.data import Subset
    from search.training.callbacks import EpochRecord
    from search.training.features.source import FeatureSubset, HeadData
    from search.training.network import TrainingNetwork

# After compiling and warming up, steps are timed until one of these limits is reached.
_UNTIMED_STEPS = 3
_TIMED_STEPS = 24
_TIMED_SECONDS = 1.5


@dataclass(frozen=True)
class Setting:
    """The settings that all phases of a training subset.

    `timed` means that the number of steps depends on the measured speed. With `ranking`, validation
    also computes AUC and average precision.
    """

    train: "Subset"
    validation: "Subset | None"
    spec: InputSpec
    seed: int
    policy: str
    xla: runtime.Xla
    clock: Clock
    timed: bool = False
    ranking: bool = False


@dataclass(frozen=True)
class PreparedPhase:
    """A compiled network, or only its head, with its training and validation data."""

    setting: Setting
    settings: TrainingConfig
    network: "keras.Model"
    trainer: "TrainingNetwork"
    train: "Subset | FeatureSubset"
    validation: "Subset | FeatureSubset | None"


def prepare(
    setting: Setting, candidate: Candidate, head: "HeadData | None", weights: Arrays
) -> PreparedPhase:
    """Builds and compiles a phase's network, or the head that is trained on features.

    `weights` are the final weights of the previous phase; if empty, the network keeps its initial
    ones.
    """
    from search.training.timed_steps import compile_for_training

    settings = candidate.training
    train: Subset | FeatureSubset = setting.train
    validation: Subset | FeatureSubset | None = setting.validation
    if head is not None:
        train, validation = head.train, head.validation
        # The features already include augmented images.
        settings = settings.model_copy(update={"augmentation": Augmentation()})
    with setting.clock.measure("compiling"):
        network = _build(setting, candidate, head, weights)
        balance = class_weights(candidate, setting.train, setting.spec)
        trainer = compile_for_training(
            network,
            settings,
            policy=setting.policy,
            xla=setting.xla,
            class_weights=balance,
        )
    return PreparedPhase(setting, settings, network, trainer, train, validation)


def seconds_per_step(prepared: PreparedPhase) -> float:
    """Measures the seconds per training step, then restores the network.

    The training that follows reuses what was compiled here.
    """
    import keras

    from search.training.timed_steps import time_steps

    trainer, setting = prepared.trainer, prepared.setting
    variables = [*trainer.variables, *trainer.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    with setting.clock.measure("compiling"), _memory_errors(prepared.settings.batch_size):
        ends = time_steps(
            trainer,
            prepared.train,
            batch_size=prepared.settings.batch_size,
            seed=setting.seed,
            untimed=_UNTIMED_STEPS,
            fewest=_UNTIMED_STEPS + 2,
            most=_UNTIMED_STEPS + _TIMED_STEPS,
            seconds=_TIMED_SECONDS,
        )
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    timed = [end for end, _ in ends[_UNTIMED_STEPS - 1 :]]
    return (timed[-1] - timed[0]) / (len(timed) - 1)


def train_phase(
    prepared: PreparedPhase,
    phase: Phase,
    *,
    length: Length,
    number: int,
    first: int,
    record: "EpochRecord",
    checkpoint: Checkpoint | None,
    warn: Callable[[str], None],
    on_checkpoint: Callable[[int], None],
) -> None:
    """Trains a prepared phase from interval `first` to its end."""
    from search.training import callbacks as callback
    from search.training.optimizers import set_total_steps

    trainer, settings, setting = prepared.trainer, prepared.settings, prepared.setting
    train, validation, clock = prepared.train, prepared.validation, setting.clock
    set_total_steps(trainer, length.steps * (phase.last - phase.first))
    stateful: list[Any] = []
    if validation is not None:
        images, labels = validation.gather(np.arange(len(validation)))
        record.validation = callback.Validation(
            trainer.to_logits, images, labels, clock, ranking=setting.ranking
        )
        stateful = _validation_driven(settings)
    compiling = callback.MeasureCompiling(clock)
    callbacks = [
        callback.SeedEpochs(setting.seed),
        compiling,
        callback.StopOnNonFiniteLoss(),
        record,
        *stateful,
        callback.CheckpointAndReport(
            checkpoint=checkpoint,
            record=record,
            stateful=stateful,
            clock=clock,
            phase=number,
            last_epoch=phase.last,
            warn=warn,
            written=on_checkpoint,
        ),
    ]
    size = settings.batch_size
    batches = training_batches(
        train, batch_size=size, seed=setting.seed, first_step=first * length.steps
    )

    def final_statistics() -> None:
        with clock.measure("validation"):
            callback.seed_random_layers(trainer, [setting.seed, 2])
            recompute_statistics(
                prepared.network,
                train,
                batch_size=size,
                seed=setting.seed,
                augment=trainer.augment_images,
            )

    record.before_last = final_statistics
    try:
        with clock.measure("training"), _memory_errors(size):
            trainer.fit(
                as_input(batches),
                steps_per_epoch=length.steps,
                initial_epoch=first,
                epochs=phase.last,
                verbose=0,
                shuffle=False,
                callbacks=callbacks,
            )
    finally:
        compiling.stop()
    if phase.last == length.intervals and settings.early_stopping is not None:
        # Early stopping restored the weights of an earlier epoch.
        final_statistics()


def _build(
    setting: Setting, candidate: Candidate, head: "HeadData | None", weights: Arrays
) -> "keras.Model":
    """Builds a phase's network, or only the head for training on features."""
    from search.training.network import set_batch_normalization_momentum

    model, spec, training = candidate.model.for_training(), setting.spec, candidate.training
    options: dict[str, Any] = {"seed": setting.seed, "dtype_policy": setting.policy}
    if head is not None:
        network = build_head(model, spec, head.shape, **options)
    else:
        network = build_model(model, spec, pretrained=not weights, **options)
        if training.whitening and not weights and not isinstance(model.backbone, Pretrained):
            whiten_first_convolution(network, setting.train)
    if weights:
        assign_weights(network, weights)
    in_epochs = training.steps is None and not setting.timed
    steps = steps_per_epoch(len(setting.train), training.batch_size) if in_epochs else None
    set_batch_normalization_momentum(network, steps)
    return network


def _validation_driven(settings: TrainingConfig) -> list[Any]:
    import keras

    chosen: list[Any] = []
    if settings.schedule == "plateau":
        chosen.append(
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=3, mode="min")
        )
    if settings.early_stopping is not None:
        chosen.append(
            keras.callbacks.EarlyStopping(
                "val_loss",
                patience=settings.early_stopping,
                mode="min",
                restore_best_weights=True,
            )
        )
    return chosen


def class_weights(
    candidate: Candidate, train: "Subset", spec: InputSpec
) -> npt.NDArray[np.float32] | None:
    """Returns a candidate's class weights (C,), or None if all classes weigh the same.

    The mean weight over the training images is 1, so that weights do not change the effective
    learning rate.
    """
    setting = candidate.training.class_weights
    if setting == "none":
        return None
    counts = train.class_counts(spec.classes)
    power = 0.5 if setting == "square_root" else 1.0
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0.0)
    normalized: npt.NDArray[np.float32] = weights * (len(train) / (weights * counts).sum())
    return normalized.astype(np.float32)


@contextmanager
def _memory_errors(batch_size: int) -> Iterator[None]:
    """Converts a backend's out-of-memory exceptions into OutOfMemoryError."""
    try:
        yield
    except Exception as error:
        if _ran_out_of_memory(error):
            name = type(error).__name__
            raise OutOfMemoryError(f"{name} with batches of {batch_size} images") from error
        raise


def _ran_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        sign in f"{type(error).__name__} {error}"
        for sign in ("ResourceExhausted", "RESOURCE_EXHAUSTED", "OutOfMemory", "out of memory")
    )
