"""Trains one candidate, in a trial and in the final retraining alike."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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
from search.training.batches import steps_per_epoch, training_batches
from search.training.checkpoint import Checkpoint
from spaces.candidate import Candidate

if TYPE_CHECKING:
    import keras

    from search.data import Share
    from search.features import FeatureSource


@dataclass(frozen=True)
class Report:
    """One validated moment of a training.

    `step` counts in units of 1/reports_per_epoch of an epoch; `metrics` holds loss and accuracy
    on the training images so far in the epoch, and val_* on the validation images.
    """

    step: int
    epoch: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class FitResult:
    """A finished training; `history` has one row an epoch.

    `images_per_second` counts training steps only, without validation and compiling. Where the head
    was trained on a frozen backbone's features, `weights` are the head's, and `backbone_seed` is
    what the backbone is built from.
    """

    candidate: Candidate
    spec: InputSpec
    weights: list[npt.NDArray[Any]]
    history: list[dict[str, float]]
    best_epoch: int
    epochs_trained: int
    seconds: float
    images_per_second: float
    parameters: int
    backbone_seed: int | None = None

    @cached_property
    def model(self) -> "keras.Model":
        """The float32 inference model with the trained weights."""
        if self.backbone_seed is not None:
            return _behind_backbone(self.candidate, self.spec, self.backbone_seed, self.weights)
        model = build_model(self.candidate.model, self.spec, pretrained=False)
        assign_weights(model, self.weights)
        return model


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
) -> FitResult:
    """Trains a candidate for its number of epochs and returns the trained network.

    Weights, shuffling, dropout and augmentation are functions of (seed, epoch). With a
    checkpoint folder the state is saved after every epoch, and a call with the same arguments
    goes on from there, repeating the reports made so far. `on_report` may raise to end the
    training; `on_progress` gets (epochs done, epochs, running metrics) a few times a second.
    Early stopping ends with the best epoch's weights. Fine-tuning trains in two phases, the second
    with a new optimizer and the weights of the first; epochs and reports count through both.
    A phase in which the backbone is frozen trains the head on what `features` finds for it.

    Raises NonFiniteLossError, OutOfMemoryError, or InfeasibleError for a network that cannot be
    built.
    """
    runtime.start_keras()
    from search.training import callbacks as callback
    from search.training.network import TrainingNetwork, set_batch_normalization_momentum
    from search.training.optimizers import make_optimizer

    clock = clock or Clock()
    began = time.perf_counter()
    training = candidate.training
    policy = runtime.dtype_policy(precision)
    steps = steps_per_epoch(len(train), training.batch_size)

    record = callback.EpochRecord(
        validation=None,
        steps_per_epoch=steps,
        reports_per_epoch=reports_per_epoch,
        report=lambda step, epoch, metrics: (
            on_report(Report(step, epoch, metrics)) if on_report else None
        ),
        progress=lambda epoch, metrics: (
            on_progress(epoch, training.epochs, metrics) if on_progress else None
        ),
    )
    phases = candidate.phases()
    found = (
        None
        if features is None
        else features.find(
            phases[0].candidate, train, validation, spec=spec, seed=seed, clock=clock
        )
    )
    checkpoint, first_epoch, first_phase, stopped = None, 0, 0, False
    if checkpoint_directory is not None:
        identity = _identity(candidate, spec, seed, policy, len(train), reports_per_epoch)
        identity += "" if found is None else " head"  # whose weights alone are in the checkpoint
        checkpoint = Checkpoint(checkpoint_directory, identity=identity)
        saved = checkpoint.read()
        if saved is not None:
            first_epoch, stopped = len(saved[0]["rows"]), saved[0]["stopped"]
            first_phase = saved[0].get("phase", 0)

    spent_before = clock.seconds["training"]
    weights: list[npt.NDArray[Any]] | None = None
    steps_timed = 0
    for number in range(first_phase, len(phases)):
        phase = phases[number]
        settings = phase.candidate.training
        head = found if number == 0 else None
        with clock.measure("compiling"):
            if head is not None:
                # Augmented images are among the features already.
                settings = settings.model_copy(update={"augmentation": Augmentation()})
                network = build_head(
                    phase.candidate.model, spec, head.shape, seed=seed, dtype_policy=policy
                )
            else:
                network = build_model(
                    phase.candidate.model,
                    spec,
                    seed=seed,
                    dtype_policy=policy,
                    pretrained=weights is None,
                )
            if weights is not None:
                assign_weights(network, weights)
            set_batch_normalization_momentum(network, steps)
            trainer = TrainingNetwork(network, settings, class_weights(candidate, train, spec))
            trainer.compile(
                optimizer=make_optimizer(settings, steps * settings.epochs),
                jit_compile=runtime.jit_compile(xla),
            )
            trainer.optimizer.build(trainer.trainable_variables)
        stateful: list[Any] = []
        checked = validation if head is None else head.validation
        if checked is not None:
            images, labels = checked.gather(np.arange(len(checked)))
            record.validation = callback.Validation(trainer.to_logits, images, labels, clock)
            stateful = _validation_driven(phase.candidate)
        compiling = callback.MeasureCompiling(clock)
        first = max(first_epoch, phase.first_epoch)
        try:
            with clock.measure("training"):
                trainer.fit(
                    training_batches(
                        train if head is None else head.train,
                        batch_size=training.batch_size,
                        seed=seed,
                        first_epoch=first,
                    ),
                    steps_per_epoch=steps,
                    initial_epoch=phase.last_epoch if stopped else first,
                    epochs=phase.last_epoch,
                    verbose=0,
                    shuffle=False,
                    callbacks=[
                        callback.SeedEpochs(seed),
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
                        ),
                    ],
                )
        except Exception as error:
            if _ran_out_of_memory(error):
                raise OutOfMemoryError(
                    f"{type(error).__name__} with batches of {training.batch_size} images"
                ) from error
            raise
        finally:
            compiling.stop()
        # The first step's time counts as compiling, so its images do not count either.
        steps_timed += max(0, (len(record.rows) - first) * steps - 1)
        weights = [np.asarray(weight) for weight in network.get_weights()]
        if head is not None and len(phases) > 1:
            weights = _behind_backbone(phase.candidate, spec, seed, weights).get_weights()

    rows = record.rows
    spent = clock.seconds["training"] - spent_before
    last = [row for row in rows if row["epoch"] > phases[-1].first_epoch]
    best = (
        min(last, key=lambda row: row["val_loss"])
        if training.early_stopping and validation is not None
        else rows[-1]
    )
    assert weights is not None
    return FitResult(
        candidate=candidate,
        spec=spec,
        weights=weights,
        history=rows,
        best_epoch=int(best["epoch"]),
        epochs_trained=len(rows),
        seconds=time.perf_counter() - began,
        images_per_second=steps_timed * min(training.batch_size, len(train)) / max(spent, 1e-9),
        parameters=network.count_params() + (head.parameters if head else 0),
        backbone_seed=seed if head else None,
    )


def _behind_backbone(
    candidate: Candidate, spec: InputSpec, seed: int, weights: list[npt.NDArray[Any]]
) -> "keras.Model":
    """Returns the whole network of a head that was trained on its backbone's features."""
    model = build_model(candidate.model, spec, seed=seed)
    assign_head_weights(model, weights)
    return model


def _validation_driven(candidate: Candidate) -> list[Any]:
    import keras

    chosen: list[Any] = []
    if candidate.training.schedule == "plateau":
        chosen.append(
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=3, mode="min")
        )
    if candidate.training.early_stopping is not None:
        chosen.append(
            keras.callbacks.EarlyStopping(
                "val_loss",
                patience=candidate.training.early_stopping,
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
