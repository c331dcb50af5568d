"""A resumed training equals the uninterrupted one, bit for bit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.config import InputSpec
from search.data import Subset
from search.system.runtime import Compute, Precision
from search.training import FitResult, ValidationReport, fit
from spaces.candidate import Candidate
from tests.support.listening import Listening

pytestmark = pytest.mark.usefixtures("saved_at_once")

Make = Callable[..., Candidate]
Digits = tuple[Subset, Subset]
Run = Callable[..., FitResult]

AUGMENTED: dict[str, Any] = {
    "dropout": 0.3,
    "optimizer": "sgd",
    "schedule": "one_cycle",
    "augmentation": Augmentation(
        horizontal_flip=True, crop_padding=2, rotation=5, erasing=0.2, mixup=0.2, cutmix=0.5
    ),
}
PLATEAU: dict[str, Any] = {"schedule": "plateau", "dropout": 0.1}
STOPPED: dict[str, Any] = {"schedule": "constant", "early_stopping": 3}


class _Interruption(Exception):
    pass


@pytest.fixture
def run(digits: Digits, contrary: Subset, spec: InputSpec) -> Run:
    """Trains in float32, and interrupts at the report of step `interrupt_at`.

    The validation loss rises from the first epoch on.
    """

    def train(
        candidate: Candidate, *, interrupt_at: int | None = None, **options: Any
    ) -> FitResult:
        collected: list[ValidationReport] = options.pop("reports", [])
        checkpoints: list[int] = options.pop("checkpoints", [])

        def on_report(report: ValidationReport) -> None:
            collected.append(report)
            if report.step == interrupt_at:
                raise _Interruption

        return fit(
            candidate,
            digits[0],
            listener=Listening(on_report=on_report, on_checkpoint=checkpoints.append),
            **{
                "spec": spec,
                "validation": contrary,
                "seed": 5,
                "compute": Compute(precision="float32"),
                **options,
            },
        )

    return train


def _curve(result: FitResult) -> list[dict[str, float]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in result.history
    ]


def _assert_equal(first: FitResult, second: FitResult) -> None:
    assert _curve(first) == _curve(second)
    assert first.best == second.best or first.best["epoch"] == second.best["epoch"]
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("settings", "interruptions", "precision"),
    [
        ({"epochs": 4} | AUGMENTED, [1, 3], "float32"),
        ({"epochs": 3, "optimizer": "adamw", "weight_decay": 0.1}, [2], "float32"),
        ({"epochs": 5} | PLATEAU, [2, 4], "float32"),
        ({"epochs": 8} | STOPPED, [1, 3], "float32"),
        ({"epochs": 7, "early_stopping": 5} | PLATEAU, [2, 4], "float16"),
    ],
    ids=[
        "augmentation and dropout",
        "adamw",
        "plateau",
        "early stopping",
        "plateau and early stopping in float16",
    ],
)
def test_an_interrupted_training_repeats_the_uninterrupted_one(
    settings: dict[str, Any],
    interruptions: list[int],
    precision: Precision,
    run: Run,
    candidate: Make,
    tmp_path: Path,
) -> None:
    made = candidate(**settings)
    expected: list[ValidationReport] = []
    whole = run(made, reports=expected, compute=Compute(precision=precision))

    options: dict[str, Any] = {
        "checkpoint_directory": tmp_path,
        "compute": Compute(precision=precision),
    }
    for step in interruptions:
        assert step < whole.epochs_trained
        with pytest.raises(_Interruption):
            run(made, interrupt_at=step, **options)
    reports: list[ValidationReport] = []
    resumed = run(made, reports=reports, **options)

    _assert_equal(resumed, whole)
    assert [(report.step, report.metrics) for report in reports] == [
        (report.step, report.metrics) for report in expected
    ]


def test_the_settings_above_do_what_they_are_for(run: Run, candidate: Make) -> None:
    halved = run(candidate(epochs=5, **PLATEAU)).history
    stopped = run(candidate(epochs=8, **STOPPED))

    assert halved[4]["learning_rate"] == pytest.approx(halved[3]["learning_rate"] / 2)
    assert (stopped.best["epoch"], stopped.epochs_trained) == (1, 4)


@pytest.mark.parametrize(
    "settings", [{"epochs": 2} | AUGMENTED, {"epochs": 8} | STOPPED], ids=["whole", "stopped"]
)
def test_a_finished_training_is_not_trained_again(
    settings: dict[str, Any], run: Run, candidate: Make, tmp_path: Path
) -> None:
    made = candidate(**settings)
    steps: list[int] = []
    first = run(made, checkpoint_directory=tmp_path, checkpoints=steps)
    assert steps == [row["step"] for row in first.history]
    before = (tmp_path / "checkpoint.npz").read_bytes()
    reports: list[ValidationReport] = []

    again = run(made, checkpoint_directory=tmp_path, reports=reports)

    _assert_equal(again, first)
    assert len(reports) == first.epochs_trained
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_an_interruption_in_the_middle_of_an_epoch_repeats_that_epoch(
    run: Run, candidate: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.training import callbacks

    monkeypatch.setattr(
        callbacks, "EpochRecord", partial(callbacks.EpochRecord, slow_epoch_seconds=0.0)
    )
    made = candidate(epochs=3, dropout=0.2)
    whole = run(made, reports_per_epoch=2)

    with pytest.raises(_Interruption):
        run(made, reports_per_epoch=2, checkpoint_directory=tmp_path, interrupt_at=3)
    reports: list[ValidationReport] = []
    resumed = run(made, reports_per_epoch=2, checkpoint_directory=tmp_path, reports=reports)

    _assert_equal(resumed, whole)
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("change", ["candidate", "seed", "data"])
def test_a_checkpoint_serves_only_the_training_that_wrote_it(
    change: str, run: Run, candidate: Make, spec: InputSpec, tmp_path: Path
) -> None:
    run(candidate(epochs=1), checkpoint_directory=tmp_path)
    made = candidate(epochs=1, learning_rate=0.02 if change == "candidate" else 0.01)
    options: dict[str, Any] = {}
    if change == "seed":
        options["seed"] = 6
    if change == "data":
        options["spec"] = spec.model_copy(update={"channel_mean": (0.1, 0.1, 0.1)})

    beside = run(made, checkpoint_directory=tmp_path, **options)

    _assert_equal(beside, run(made, **options))
