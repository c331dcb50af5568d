"""Compares networks and training settings of our studies on small sets, one change at a time.

    python -m benchmarks.training_settings signs path/to/sign-digits --image-size 64 --seconds 60
    python -m benchmarks.training_settings cifar5k path/to/cifar10 --images 7000 --steps 390
    python -m benchmarks.training_settings digits digits --seconds 30 --only default,wide

Every setting is the default of `auto` with some parameters changed. It gets the same CPU time (a
fast network gets more steps) or, with --steps, the same number of steps. Networks are evaluated on
validation images; test images are not used. Rows are written to
benchmarks/results/training_settings.json, where a new row replaces an older one with the same key.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from optuna.trial import FixedTrial

from benchmarks.kept_rows import keep_row
from search.data import Split, load_data, split_data
from search.system.runtime import dtype_policy
from search.training.batches import steps_per_epoch
from search.training.fit import fit
from search.training.listener import Listener
from search.training.result import FitResult, ValidationReport
from spaces.candidate import Candidate
from spaces.shipped.auto import auto
from spaces.task import Task
from studies.shipped import auto as study

RESULTS = Path(__file__).parent / "results" / "training_settings.json"
_TIMED_STEPS = 8
_TIMED_EPOCHS = 4

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "flips": {"horizontal_flip": True},
    "narrow": {"filters": 32},
    "small": {"filters": 32, "stem_filters": 0},
    "wide": {"filters": 96},
    "no stem": {"stem_filters": 0},
    "no stem, flips": {"stem_filters": 0, "horizontal_flip": True},
    "no stem, average pooling": {"stem_filters": 0, "pooling": "average"},
    "no stem, rate doubled": {"stem_filters": 0, "learning_rate_factor": 2.0},
    "silu": {"activation": "silu"},
    "relu": {"activation": "relu"},
    "residual": {"family": "residual"},
    "inverted residual": {"family": "inverted_residual"},
    "convnext": {"family": "convnext"},
    "average pooling": {"pooling": "average"},
    "rate halved": {"learning_rate_factor": 0.5},
    "rate doubled": {"learning_rate_factor": 2.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "little decay": {"weight_decay": 0.005},
    "dropout": {"dropout": 0.2},
    "erasing": {"erasing": 0.2},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 0.5},
    "batch halved": {"batch_factor": 0.5},
    "batch doubled": {"batch_factor": 2.0},
    "no clipping": {"clip_norm": None},
}


def main(
    name: Annotated[str, typer.Argument(help="The name of the set in the rows.")],
    data: Annotated[str, typer.Argument(help="An image folder, or the name of a known set.")],
    seconds: Annotated[float, typer.Option(help="CPU seconds per training.")] = 60.0,
    steps: Annotated[int | None, typer.Option(help="Steps per training, instead.")] = None,
    image_size: int | None = None,
    images: Annotated[int | None, typer.Option(help="Training and validation images.")] = None,
    validation_fraction: float = 0.15,
    seed: Annotated[int, typer.Option(min=100, help="Other benchmarks use seeds below 100.")] = 100,
    only: Annotated[str, typer.Option(help="Names of settings, separated by commas.")] = "",
) -> None:
    """Trains each setting on one set, and writes a row for each."""
    split = split_data(
        load_data(data, image_size=image_size), seed=seed, validation_fraction=validation_fraction
    )
    if images is not None:
        split = split.with_fewer_images(images)
    for setting in only.split(",") if only else SETTINGS:
        given: dict[str, Any] = {"seconds": seconds} if steps is None else {"steps": steps}
        row = {"set": name, "setting": setting, "seed": seed, "given": given}
        measured = measure(candidate(SETTINGS[setting], split), split, **given, seed=seed)
        keep_row(RESULTS, row | measured, key=("set", "setting", "seed", "given"))


def candidate(changes: dict[str, Any], split: Split) -> Candidate:
    """Returns the default candidate of `auto` for a split's task, with some parameters changed."""
    task = Task(
        image_shape=split.spec.image_shape, classes=split.spec.classes, images=len(split.train)
    )
    parameters = {**study.start(task)[0], **changes}
    rate = parameters["learning_rate"] * parameters.pop("learning_rate_factor", 1.0)
    batch = parameters.pop("batch_factor", 1.0)
    clip = {name: parameters.pop(name) for name in ("clip_norm",) if name in parameters}
    found = auto(FixedTrial({**parameters, "learning_rate": rate}), task=task)
    return found.with_training(batch_size=round(found.training.batch_size * batch), **clip)


def measure(
    candidate: Candidate,
    split: Split,
    *,
    seconds: float = 0.0,
    steps: int | None = None,
    seed: int,
) -> dict[str, Any]:
    """Trains a candidate for about `seconds` CPU seconds, or `steps` steps, in whole epochs.

    Returns its figures.
    """
    size = candidate.training.batch_size
    step = _seconds_a_step(candidate, split, seed)
    epoch = steps_per_epoch(len(split.train), size)
    epochs = max(1, round((steps or seconds / step) / epoch))
    began = time.process_time()
    result = fit(
        candidate.with_training(epochs=epochs),
        split.train,
        spec=split.spec,
        validation=split.validation,
        seed=seed,
    )
    spent = time.process_time() - began
    last = result.history[-1]
    return {
        "candidate": candidate.summary(),
        "parameters": result.parameters,
        "images": len(split.train),
        "steps": epochs * epoch,
        "epochs": epochs,
        "images_per_processor_second": round(size / step),
        "processor_seconds": round(spent, 1),
        "dtype_policy": dtype_policy("auto"),
        "training_accuracy": round(last["accuracy"], 4),
        "validation_accuracy": round(last["val_accuracy"], 4),
        "validation_loss": round(last["val_loss"], 4),
        **_mirrored_accuracies(result, split),
    }


def _mirrored_accuracies(result: FitResult, split: Split) -> dict[str, float]:
    """Returns the accuracy on mirrored validation images, and of the mean logits of both views.

    If a network trained without flips is equally accurate on mirrored images, flips are safe.
    """
    import keras

    images, labels = split.validation.gather(np.arange(len(split.validation)))
    network = keras.Model(result.model.input, result.model.get_layer("logits").output)
    plain, mirrored = (
        network.predict(view, batch_size=250, verbose=0) for view in (images, images[:, :, ::-1])
    )
    return {
        f"{name}_validation_accuracy": round(float((logits.argmax(-1) == labels).mean()), 4)
        for name, logits in {"mirrored": mirrored, "two_view": plain + mirrored}.items()
    }


class _ReportTimes(Listener):
    """Records the CPU time at each report."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def on_report(self, report: ValidationReport) -> None:
        self._times.append(time.process_time())

    def seconds_between(self) -> float:
        """Returns the mean CPU time from one report to the next."""
        return (self._times[-1] - self._times[0]) / (len(self._times) - 1)


def _seconds_a_step(candidate: Candidate, split: Split, seed: int) -> float:
    """Returns the CPU time of a step, without building and compiling."""
    size = candidate.training.batch_size
    few = replace(split.train, indices=split.train.indices[: size * _TIMED_STEPS])
    ends = _ReportTimes()
    fit(
        candidate.with_training(epochs=_TIMED_EPOCHS),
        few,
        spec=split.spec,
        seed=seed,
        listener=ends,
    )
    return ends.seconds_between() / steps_per_epoch(len(few), size)


if __name__ == "__main__":
    typer.run(main)
