"""What happens around the steps: seeds, validation, records, checkpoints, reports."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from search.errors import NonFiniteLossError
from search.progress.clock import Clock
from search.training.checkpoint import Checkpoint
from search.training.length import Length
from search.training.metrics import classification_metrics, ranking_metrics
from search.training.mirroring import MirroredAccuracy, compare
from search.training.network import seed_generators
from search.training.prediction import predict_in_batches, prediction_batch_of

# A trial whose epochs take longer than this also reports within an epoch.
SLOW_EPOCH_SECONDS = 60.0
SECONDS_BETWEEN_CHECKPOINTS = 3.0


class SeedEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Seeds every random layer from (seed, epoch), so that a resumed epoch repeats exactly."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Resets all seed generators."""
        seed_random_layers(self.model, [self.seed, epoch, 1])


def seed_random_layers(model: keras.Model, entropy: list[int]) -> None:
    """Resets all seed generators of a model to states that follow from `entropy`."""
    generators = seed_generators(model)
    draws = np.random.default_rng(entropy).integers(0, 2**31, len(generators))
    for generator, draw in zip(generators, draws, strict=True):
        generator.state.assign(np.array([draw, 0], dtype=np.int64))


class StopOnNonFiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the training as soon as the running loss is NaN or infinite."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Raises NonFiniteLossError."""
        if not math.isfinite(float(logs["loss"])):
            raise NonFiniteLossError(
                f"the loss became {float(logs['loss'])} at batch {batch + 1} of an epoch"
            )


class MeasureCompiling(keras.callbacks.Callback):  # type: ignore[misc]
    """Counts all time up to the end of the first step as compiling."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self._compiling = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Starts the activity."""
        self.clock.enter("compiling")
        self._compiling = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the activity after the first step."""
        self.stop()

    def stop(self) -> None:
        """Ends the activity if it is still running, for example after a failed first step."""
        if self._compiling:
            self._compiling = False
            self.clock.leave()


class Validation:
    """Computes the validation metrics of a network's logits."""

    def __init__(
        self,
        to_logits: keras.Model,
        images: npt.NDArray[np.uint8 | np.float16],
        labels: npt.NDArray[np.int64],
        clock: Clock,
        *,
        ranking: bool = False,
    ) -> None:
        self.ranking = ranking
        self.to_logits = to_logits
        self.batch_size = prediction_batch_of(to_logits)
        self.images = images
        self.labels = labels
        self.clock = clock
        self.predictions: npt.NDArray[np.int64] = np.zeros_like(labels)

    def __call__(self) -> dict[str, float]:
        """Returns val_loss, val_accuracy, val_balanced_accuracy and val_macro_f1.

        With `ranking`, also val_auc and val_average_precision.
        """
        with self.clock.measure("validation"):
            logits = predict_in_batches(self.to_logits, self.images, batch_size=self.batch_size)
            self.predictions = logits.argmax(axis=1)
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities = shifted / shifted.sum(axis=1, keepdims=True)
            metrics = classification_metrics(probabilities, self.labels)
            if self.ranking:
                metrics |= ranking_metrics(probabilities, self.labels)
        return {f"val_{name}": value for name, value in metrics.items()}

    def mirrored(self, classes: int) -> MirroredAccuracy:
        """Compares the last predictions with those on the mirrored images."""
        with self.clock.measure("validation"):
            images = self.images[:, :, ::-1]
            logits = predict_in_batches(self.to_logits, images, batch_size=self.batch_size)
            mirrored = logits.argmax(axis=1)
            return compare(self.predictions, mirrored, self.labels, classes=classes)


class EpochRecord(keras.callbacks.Callback):  # type: ignore[misc]
    """Validates after each epoch, records one row per epoch, and reports.

    Must come before the callbacks that read validation values from `logs`. When an epoch takes
    longer than `slow_epoch_seconds`, it also reports at `reports_per_epoch` equal fractions of it.
    One Keras epoch is one interval of the training, `length.steps` steps. `before_last` is called
    just before the last validation.
    """

    def __init__(
        self,
        *,
        length: Length,
        reports_per_epoch: int,
        report: Callable[[int, float, dict[str, float]], None],
        progress: Callable[[float, dict[str, float]], None],
        slow_epoch_seconds: float = SLOW_EPOCH_SECONDS,
    ) -> None:
        super().__init__()
        self.validation: Validation | None = None
        self.before_last: Callable[[], object] = lambda: None
        self.length = length
        self.report = report
        self.progress = progress
        self.reports_per_epoch = reports_per_epoch
        self.slow_epoch_seconds = slow_epoch_seconds
        self.fractions = {
            round(length.steps * part / reports_per_epoch): part
            for part in range(1, reports_per_epoch)
        }
        self.rows: list[dict[str, float]] = []
        self.reports: list[tuple[int, float, dict[str, float]]] = []
        self._epoch = 0
        self._began = 0.0
        self._shown = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's clock."""
        self._epoch = epoch
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Shows progress a few times a second, and reports at fractions of slow epochs."""
        now = time.perf_counter()
        done = (batch + 1) / self.length.steps
        # The end of an epoch is shown after its validation and checkpoint, not here.
        if now - self._shown > 0.2 and done < 1:
            self._shown = now
            self.progress(self._epochs(self._epoch + done), _floats(logs))
        part = self.fractions.get(batch + 1)
        slow = part and (now - self._began) / done > self.slow_epoch_seconds
        if part and slow and self.validation is not None:
            metrics = {**_floats(logs), **self.validation()}
            self._remember(self._epoch * self.reports_per_epoch + part, metrics)
            self.send(self.reports[-1:])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the validation values to `logs` and the epoch to the rows."""
        if epoch + 1 == self.length.intervals:
            self.before_last()
        if self.validation is not None:
            logs.update(self.validation())
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append(
            {
                "epoch": self._epochs(epoch + 1),
                "step": (epoch + 1) * self.length.steps,
                "learning_rate": rate,
                "seconds": time.perf_counter() - self._began,
                **_floats(logs),
            }
        )
        self._remember((epoch + 1) * self.reports_per_epoch, _floats(logs))

    def send(self, reports: list[tuple[int, float, dict[str, float]]]) -> None:
        """Passes on reports; the receiver may raise to end the training."""
        for report in reports:
            self.report(*report)

    def _remember(self, step: int, metrics: dict[str, float]) -> None:
        self.reports.append((step, self._epochs(step / self.reports_per_epoch), metrics))

    def _epochs(self, intervals: float) -> float:
        each = self.length.epochs_per_interval
        return intervals if each == 1 else round(intervals * each, 3)


class CheckpointAndReport(keras.callbacks.Callback):  # type: ignore[misc]
    """Restores the checkpoint before the first epoch; after each epoch saves, then reports.

    Checkpoints are at least `seconds_between` apart, because short epochs are not worth a file.
    The last epoch is always saved.

    Must be the last callback: the others reset themselves before it restores them, and process the
    epoch before it saves them. It saves before it reports because a report may end the training.
    A checkpoint belongs to one phase of the training; another phase ignores it. A failed write (a
    full disk) does not end the training; `warn` is called once. `written` is called with the step
    of each checkpoint that was written.
    """

    # State that Keras' own callbacks lose between two processes.
    REMEMBERED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")

    def __init__(
        self,
        *,
        checkpoint: Checkpoint | None,
        record: EpochRecord,
        stateful: list[Any],
        clock: Clock,
        phase: int = 0,
        last_epoch: int,
        seconds_between: float = SECONDS_BETWEEN_CHECKPOINTS,
        warn: Callable[[str], None] = lambda text: None,
        written: Callable[[int], None] = lambda step: None,
    ) -> None:
        super().__init__()
        self.last_epoch = last_epoch
        self.seconds_between = seconds_between
        self._written: float | None = None
        self.checkpoint = checkpoint
        self.warn = warn
        self.written = written
        self._has_warned = False
        self.phase = phase
        self.record = record
        self.stateful = stateful
        self.clock = clock

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores weights, optimizer, callbacks and rows, and repeats their reports."""
        saved = self.checkpoint.read() if self.checkpoint else None
        if saved is None or saved[0].get("phase", 0) != self.phase:
            return
        state, arrays = saved
        for variable, value in zip(self.model.variables, arrays["model"], strict=True):
            variable.assign(value)
        for variable, value in zip(
            self.model.optimizer.variables, arrays["optimizer"], strict=True
        ):
            variable.assign(value)
        self.record.rows = state["rows"]
        self.record.reports = [tuple(report) for report in state["reports"]]
        for callback, remembered in zip(self.stateful, state["callbacks"], strict=True):
            vars(callback).update(remembered)
            if "best_weights" in arrays and hasattr(callback, "best_weights"):
                callback.best_weights = arrays["best_weights"]
        self.record.send(self.record.reports)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the checkpoint, then reports the epoch."""
        if self.checkpoint is not None and self._is_due(epoch):
            with self.clock.measure("checkpoints"):
                self._write(self.checkpoint)
            self._written = time.monotonic()
        self.record.progress(self.record.rows[-1]["epoch"], _floats(logs))
        self.record.send(self.record.reports[-1:])

    def _is_due(self, epoch: int) -> bool:
        if self._written is None or epoch + 1 == self.last_epoch or self.model.stop_training:
            return True
        return time.monotonic() - self._written >= self.seconds_between

    def _write(self, checkpoint: Checkpoint) -> None:
        state = {
            "rows": self.record.rows,
            "reports": self.record.reports,
            "callbacks": [
                {name: vars(item)[name] for name in self.REMEMBERED if name in vars(item)}
                for item in self.stateful
            ],
            "stopped": bool(self.model.stop_training),
            "phase": self.phase,
        }
        arrays = {
            "model": [_array(variable) for variable in self.model.variables],
            "optimizer": [_array(variable) for variable in self.model.optimizer.variables],
        }
        best = [item.best_weights for item in self.stateful if getattr(item, "best_weights", None)]
        if best:
            arrays["best_weights"] = best[0]
        try:
            checkpoint.write(state, arrays)
        except OSError as error:
            if not self._has_warned:
                epoch = self.record.rows[-1]["epoch"]
                self.warn(f"no checkpoint after epoch {epoch:g}: {error.strerror or error}")
            self._has_warned = True
            return
        self.written(int(self.record.rows[-1]["step"]))


def _array(variable: Any) -> npt.NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _floats(logs: Any) -> dict[str, float]:
    # Keras' loss of a perfect epoch may be -0.0; the sum is 0.0.
    values = {name: float(value) + 0.0 for name, value in (logs or {}).items()}
    values.pop("learning_rate", None)
    return values
