"""Trains one candidate, in a trial and in the final retraining alike."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import assign_head_weights, assign_weights, build_head, build_model
from cnn_blocks.config import InputSpec
from search import runtime
from search.clock import Clock
from search.errors import OutOfMemoryError
from search.training.batches import as_input, steps_per_epoch, training_batches
from search.training.checkpoint import Arrays, Checkpoint
from search.training.result import FitResult, Report
from spaces.candidate import Candidate, Phase, TrainingConfig

if TYPE_CHECKING:
    import keras

    from search.data import Share
    from search.features import FeatureShare, FeatureSource, HeadData
    from search.training.callbacks import EpochRecord


def fit(
    candidate: Candidate,
    train: "Share",
    *,
    spec: InputSpec,
    validation: "Share | None" = None,
    seed: int,
    reports_per_epoch: int = 1,
    on_report: Callable[[Report], None] | None = None,
    on_progress: Callable[[float, int, dict[str, float]], None] | None = None,
    checkpoint_directory: Path | None = None,
    precision: runtime.Precision = "auto",
    xla: runtime.Xla = "auto",
    clock: Clock | None = None,
    features: "FeatureSource | None" = None,
    on_warning: Callable[[str], None] = lambda text: None,
) -> FitResult:
    """Trains a candidate for its number of epochs and returns the trained network.

    Weights, shuffling, dropout and augmentation are functions of (seed, epoch). With a
    checkpoint folder the state is saved after every epoch, and a call with the same arguments
    goes on from there, repeating the reports made so far. `on_report` may raise to end the
    training; `on_progress` gets (epochs done, epochs, running metrics) a few times a second;
    `on_warning` is told when no checkpoint could be written, which does not end the training.
    Early stopping ends with the best epoch's weights. Fine-tuning trains in two phases, the second
    with a new optimizer and the weights of the first; epochs and reports count through both.
    A phase in which the backbone is frozen trains the head on what `features` finds for it.

    Raises NonFiniteLossError, OutOfMemoryError, or InfeasibleError for a network that cannot be
    built.
    """
    runtime.start_keras()
    from search.training.callbacks import EpochRecord

    began = time.perf_counter()
    clock = clock or Clock()
    policy = runtime.dtype_policy(precision)
    epochs, batch_size = candidate.training.epochs, candidate.training.batch_size
    steps = steps_per_epoch(len(train), batch_size)
    phases = candidate.phases()
    found = None
    if features is not None:
        first = phases[0].candidate
        found = features.find(first, train, validation, spec=spec, seed=seed, clock=clock)

    checkpoint, first_phase, epochs_done = None, 0, 0
    if checkpoint_directory is not None:
        identity = _identity(candidate, spec, seed, policy, len(train), reports_per_epoch)
        identity += "" if found is None else " head"  # whose weights alone are in the checkpoint
        checkpoint = Checkpoint(checkpoint_directory, identity=identity)
        if saved := checkpoint.read():
            state, _ = saved
            first_phase = state.get("phase", 0)
            epochs_done = epochs if state["stopped"] else len(state["rows"])

    record = EpochRecord(
        validation=None,
        steps_per_epoch=steps,
        reports_per_epoch=reports_per_epoch,
        report=lambda step, epoch, metrics: (
            on_report(Report(step, epoch, metrics)) if on_report else None
        ),
        progress=lambda epoch, metrics: (
            on_progress(epoch, epochs, metrics) if on_progress else None
        ),
    )
    training = _Training(
        train=train,
        validation=validation,
        spec=spec,
        seed=seed,
        policy=policy,
        xla=xla,
        steps=steps,
        record=record,
        checkpoint=checkpoint,
        clock=clock,
        warn=on_warning,
    )
    spent_before = clock.seconds["training"]
    weights: Arrays = []
    steps_timed = 0
    for number in range(first_phase, len(phases)):
        phase = phases[number]
        # What comes after the head's phase trains the backbone, too, and needs the images.
        head = found if number == 0 else None
        first_epoch = max(epochs_done, phase.first_epoch)
        network = _train_phase(
            training, phase, number=number, head=head, weights=weights, first_epoch=first_epoch
        )
        # The first step's time counts as compiling, so its images do not count either.
        steps_timed += max(0, (len(record.rows) - first_epoch) * steps - 1)
        weights = network.get_weights()
        if head is not None and len(phases) > 1:
            whole = build_model(phase.candidate.model, spec, seed=seed)
            assign_head_weights(whole, weights)
            weights = whole.get_weights()

    rows = record.rows
    spent = clock.seconds["training"] - spent_before
    best = rows[-1]
    if candidate.training.early_stopping and validation is not None:
        last = [row for row in rows if row["epoch"] > phases[-1].first_epoch]
        best = min(last, key=lambda row: row["val_loss"])
    return FitResult(
        candidate=candidate,
        spec=spec,
        weights=weights,
        history=rows,
        best_epoch=int(best["epoch"]),
        epochs_trained=len(rows),
        seconds=time.perf_counter() - began,
        images_per_second=steps_timed * min(batch_size, len(train)) / max(spent, 1e-9),
        parameters=network.count_params() + (head.parameters if head else 0),
        backbone_seed=seed if head else None,
    )


@dataclass(frozen=True)
class _Training:
    """What the phases of one training share; `steps` make an epoch."""

    train: "Share"
    validation: "Share | None"
    spec: InputSpec
    seed: int
    policy: str
    xla: runtime.Xla
    steps: int
    record: "EpochRecord"
    checkpoint: Checkpoint | None
    clock: Clock
    warn: Callable[[str], None]


def _train_phase(
    training: _Training,
    phase: Phase,
    *,
    number: int,
    head: "HeadData | None",
    weights: Arrays,
    first_epoch: int,
) -> "keras.Model":
    """Builds, compiles and trains a phase's network, or its head alone, and returns it.

    `weights` are what the phase before ended with; without any it begins with its own.
    """
    from search.training import callbacks as callback
    from search.training.network import TrainingNetwork
    from search.training.optimizers import make_optimizer

    clock, record, settings = training.clock, training.record, phase.candidate.training
    train: Share | FeatureShare = training.train
    validation: Share | FeatureShare | None = training.validation
    if head is not None:
        train, validation = head.train, head.validation
        # Augmented images are among the features already.
        settings = settings.model_copy(update={"augmentation": Augmentation()})

    with clock.measure("compiling"):
        network = _build(training, phase, head, weights)
        balance = class_weights(phase.candidate, training.train, training.spec)
        trainer = TrainingNetwork(network, settings, balance)
        trainer.compile(
            optimizer=make_optimizer(
                settings,
                training.steps * settings.epochs,
                scale_loss=training.policy == "mixed_float16",
            ),
            # Keras would fall back as well, but warn: whoever asked for XLA should hear it.
            jit_compile=runtime.jit_compile(training.xla)
            and (training.xla == "on" or trainer.supports_xla),
        )
        trainer.optimizer.build(trainer.trainable_variables)
    stateful: list[Any] = []
    if validation is not None:
        images, labels = validation.gather(np.arange(len(validation)))
        record.validation = callback.Validation(trainer.to_logits, images, labels, clock)
        stateful = _validation_driven(settings)
    compiling = callback.MeasureCompiling(clock)
    callbacks = [
        callback.SeedEpochs(training.seed),
        compiling,
        callback.StopOnNonFiniteLoss(),
        record,
        *stateful,
        callback.CheckpointAndReport(
            checkpoint=training.checkpoint,
            record=record,
            stateful=stateful,
            clock=clock,
            phase=number,
            warn=training.warn,
        ),
    ]
    size = settings.batch_size
    batches = training_batches(train, batch_size=size, seed=training.seed, first_epoch=first_epoch)
    try:
        with clock.measure("training"):
            trainer.fit(
                as_input(batches),
                steps_per_epoch=training.steps,
                initial_epoch=first_epoch,
                epochs=phase.last_epoch,
                verbose=0,
                shuffle=False,
                callbacks=callbacks,
            )
    except Exception as error:
        if _ran_out_of_memory(error):
            name = type(error).__name__
            raise OutOfMemoryError(f"{name} with batches of {size} images") from error
        raise
    finally:
        compiling.stop()
    return network


def _build(
    training: _Training, phase: Phase, head: "HeadData | None", weights: Arrays
) -> "keras.Model":
    """Builds a phase's network, or the part of it that is trained on features."""
    from search.training.network import set_batch_normalization_momentum

    model, spec = phase.candidate.model, training.spec
    options: dict[str, Any] = {"seed": training.seed, "dtype_policy": training.policy}
    if head is not None:
        network = build_head(model, spec, head.shape, **options)
    else:
        network = build_model(model, spec, pretrained=not weights, **options)
    if weights:
        assign_weights(network, weights)
    set_batch_normalization_momentum(network, training.steps)
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
    candidate: Candidate, train: "Share", spec: InputSpec
) -> npt.NDArray[np.float32] | None:
    """Returns the weight of each class (C,), as a candidate asks for; None for equal ones."""
    if candidate.training.class_weights == "none":
        return None
    counts = np.maximum(train.class_counts(spec.classes), 1)
    return (len(train) / (spec.classes * counts)).astype(np.float32)


def _identity(
    candidate: Candidate, spec: InputSpec, seed: int, policy: str, images: int, reports: int
) -> str:
    # The specification holds the training images' statistics: other data is another training.
    text = f"{candidate.to_json()} {spec.model_dump_json()} {seed} {policy} {images} {reports}"
    return hashlib.sha256(text.encode()).hexdigest()


def _ran_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        sign in f"{type(error).__name__} {error}"
        for sign in ("ResourceExhausted", "RESOURCE_EXHAUSTED", "OutOfMemory", "out of memory")
    )
