"""Trains one candidate, both in trials and in the final retraining."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_blocks.build import assign_head_weights, build_model
from cnn_blocks.config import InputSpec
from search.progress.clock import Clock
from search.system import runtime
from search.training.checkpoint import Arrays, Checkpoint
from search.training.length import training_length
from search.training.listener import Listener
from search.training.phase import PreparedPhase, Setting, prepare, seconds_per_step, train_phase
from search.training.result import FitResult, ValidationReport
from spaces.candidate import Candidate

if TYPE_CHECKING:
    from search.data import Subset
    from search.training.features.source import FeatureSource, HeadData


# The share of a training's time for steps. Checkpoints, records and other load take the rest.
_STEPS_PART = 0.96
_HEAD_PASSES = 15.0
_LEAST_HEAD_SHARE = 0.05


def fit(
    candidate: Candidate,
    train: "Subset",
    *,
    spec: InputSpec,
    validation: "Subset | None" = None,
    seed: int,
    reports_per_epoch: int = 1,
    intervals: int | None = None,
    seconds: Callable[[], float] | None = None,
    most_steps: int | None = None,
    listener: Listener | None = None,
    checkpoint_directory: Path | None = None,
    compute: runtime.Compute = runtime.Compute(),
    clock: Clock | None = None,
    features: "FeatureSource | None" = None,
    mirrored: bool = False,
    ranking: bool = False,
) -> FitResult:
    """Trains a candidate for its number of epochs or steps and returns the trained network.

    A training measured in epochs is validated, saved and reported after every epoch. One measured
    in steps does so after each of `intervals` equal parts, 10 by default.

    With `seconds`, a candidate without a number of steps gets as many as fit into that time, at
    most `most_steps`; a few steps are timed to find out. `seconds` is called after that timing, so
    the time spent compiling is already over.

    Weights, shuffling, dropout and augmentation are functions of the seed and the interval. With a
    checkpoint folder the state is saved every few seconds; a call with the same arguments resumes
    from there and repeats the earlier reports. The `listener` receives events and may end the
    training by raising.

    At the end, batch normalisation gets statistics without dropout, of images augmented as in
    training, and early stopping restores the weights of the best epoch. Fine-tuning trains in two
    phases: the second starts with a new optimizer and the weights of the first, and epochs and
    reports count on. A phase with a frozen backbone trains the head on the features that `features`
    finds.

    With `mirrored`, the result compares accuracy on mirrored validation images if the network was
    trained without flips. With `ranking`, the validation metrics include AUC and average precision.

    Raises NonFiniteLossError, OutOfMemoryError, or InfeasibleError for a network that cannot be
    built.
    """
    runtime.start_keras()
    from search.training.callbacks import EpochRecord

    began = time.perf_counter()
    clock, listener = clock or Clock(), listener or Listener()
    policy = runtime.dtype_policy(compute.precision)
    in_epochs = candidate.training.steps is None and seconds is None
    setting = Setting(
        train=train,
        validation=validation,
        spec=spec,
        seed=seed,
        policy=policy,
        xla=compute.xla,
        clock=clock,
        timed=not in_epochs,
        ranking=ranking,
    )
    found = None
    if features is not None:
        first_candidate = candidate.phases()[0].candidate
        found = features.find(first_candidate, train, validation, spec=spec, seed=seed, clock=clock)
    prepared: PreparedPhase | None = None
    if seconds is not None and candidate.training.steps is None:
        # Trials are compared at the ends of intervals, so each interval needs at least one step.
        least = 1 if validation is None or intervals is None else intervals
        candidate, prepared = _within(
            seconds, setting, candidate, found, least=least, most=most_steps
        )
        assert candidate.training.steps is not None
        listener.on_length(candidate)
    length = training_length(
        candidate.training, len(train), intervals, compared=validation is not None
    )
    if not in_epochs:
        reports_per_epoch = 1
    phases = candidate.phases(length.intervals)

    checkpoint, first_phase, done = None, 0, 0
    if checkpoint_directory is not None:
        parts = reports_per_epoch if in_epochs else length.intervals
        identity = _identity(candidate, spec, seed, policy, len(train), parts)
        identity += "" if found is None else " head"  # such checkpoints hold only the head
        checkpoint = Checkpoint(checkpoint_directory, identity=identity)
        if saved := checkpoint.read():
            state, _ = saved
            first_phase = state.get("phase", 0)
            done = length.intervals if state["stopped"] else len(state["rows"])

    record = EpochRecord(
        length=length,
        reports_per_epoch=reports_per_epoch,
        report=lambda step, epoch, metrics: listener.on_report(
            ValidationReport(step, epoch, metrics)
        ),
        progress=lambda epoch, metrics: listener.on_progress(epoch, length.epochs, metrics),
    )
    spent_before = clock.seconds["training"]
    weights: Arrays = []
    steps_timed = 0
    for number in range(first_phase, len(phases)):
        phase = phases[number]
        # Later phases train the backbone as well and need the images.
        head = found if number == 0 else None
        first = max(done, phase.first)
        if prepared is None:
            prepared = prepare(setting, phase.candidate, head, weights)
        train_phase(
            prepared,
            phase,
            length=length,
            number=number,
            first=first,
            record=record,
            checkpoint=checkpoint,
            warn=listener.on_warning,
            on_checkpoint=listener.on_checkpoint,
        )
        # The first step's time counts as compiling, so the step does not count here.
        steps_timed += max(0, (len(record.rows) - first) * length.steps - 1)
        network = prepared.network
        prepared, weights = None, network.get_weights()
        if head is not None and len(phases) > 1:
            whole = build_model(phase.candidate.model.for_training(), spec, seed=seed)
            assign_head_weights(whole, weights)
            weights = whole.get_weights()

    rows = record.rows
    spent = clock.seconds["training"] - spent_before
    best = len(rows) - 1
    if candidate.training.early_stopping and validation is not None:
        best = min(range(phases[-1].first, len(rows)), key=lambda row: rows[row]["val_loss"])
        if record.validation is not None:
            # The earlier validation used other batch-normalisation statistics.
            rows[best] |= record.validation()
    comparison = None
    augmentation = candidate.training.augmentation
    if mirrored and record.validation and not augmentation.horizontal_flip and head is None:
        comparison = record.validation.mirrored(spec.classes)
    batch_size = min(candidate.training.batch_size, len(train))
    return FitResult(
        candidate=candidate,
        spec=spec,
        weights=weights,
        history=rows,
        best_row=best,
        seconds=time.perf_counter() - began,
        images_per_second=steps_timed * batch_size / max(spent, 1e-9),
        parameters=network.count_params() + (head.parameters if head else 0),
        backbone_seed=seed if head else None,
        mirrored=comparison,
    )


def _within(
    seconds: Callable[[], float],
    setting: Setting,
    candidate: Candidate,
    found: "HeadData | None",
    *,
    least: int,
    most: int | None,
) -> tuple[Candidate, PreparedPhase | None]:
    """Returns the candidate with as many steps as fit into the time, and its phase if it has one.

    Of two phases the second is timed, because it trains the backbone. A head on features costs
    almost nothing, so it gets a fixed number of passes whatever `head_share` says.
    """
    phases = candidate.phases()
    alone = len(phases) == 1
    prepared = prepare(setting, phases[-1].candidate, found if alone else None, [])
    each = seconds_per_step(prepared)
    steps = _STEPS_PART * seconds() / each
    tuning = candidate.training.fine_tuning
    if tuning is not None and not alone:
        images = len(setting.train)
        head = _HEAD_PASSES * images / min(candidate.training.batch_size, images)
        if found is None:
            head = steps * tuning.head_share
            steps -= head
        share = min(max(head / (head + steps), _LEAST_HEAD_SHARE), 1 - _LEAST_HEAD_SHARE)
        tuning = tuning.model_copy(update={"head_share": share})
        candidate = candidate.with_training(fine_tuning=tuning)
        steps += head
    whole = max(least, round(steps))
    timed = candidate.with_training(steps=whole if most is None else max(1, min(whole, most)))
    return timed, prepared if alone else None


def _identity(
    candidate: Candidate, spec: InputSpec, seed: int, policy: str, images: int, reports: int
) -> str:
    # `spec` holds statistics of the training images, so other data gives another identity.
    text = f"{candidate.to_json()} {spec.model_dump_json()} {seed} {policy} {images} {reports}"
    return hashlib.sha256(text.encode()).hexdigest()
