"""Trainings measured in steps or limited in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.config import InputSpec
from search.data import Subset
from search.system.runtime import Compute
from search.training import FitResult, ValidationReport, fit
from search.training.checkpoint import Checkpoint
from search.training.length import Length, training_length
from spaces.candidate import Candidate, TrainingConfig
from tests.support.listening import Listening

Digits = tuple[Subset, Subset]
Make = Callable[..., Candidate]
Run = Callable[..., FitResult]

VARIED: dict[str, Any] = {
    "dropout": 0.3,
    "schedule": "one_cycle",
    "clip_norm": 1.0,
    "augmentation": Augmentation(horizontal_flip=True, crop_padding=2, mixup=0.2),
}


class _Interruption(Exception):
    pass


@pytest.fixture
def run(digits: Digits, spec: InputSpec) -> Run:
    """Trains in float32 on 512 images; an epoch is 8 batches of 64."""

    def train(candidate: Candidate, **options: Any) -> FitResult:
        usual: dict[str, Any] = {"validation": digits[1], "seed": 5, "intervals": 4}
        usual |= {"compute": Compute(precision="float32")}
        return fit(candidate, digits[0], spec=spec, **(usual | options))

    return train


def _assert_equal(first: FitResult, second: FitResult) -> None:
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def _curve(result: FitResult) -> list[dict[str, float]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in result.history
    ]


def test_a_length_is_equal_parts_of_the_steps_or_whole_epochs() -> None:
    def length(images: int, intervals: int | None = None, **training: Any) -> Length:
        return training_length(TrainingConfig(batch_size=64, **training), images, intervals)

    assert length(512, epochs=3) == Length(8, 3, 8)
    assert length(512, 4, epochs=3) == Length(8, 3, 8)
    assert length(512, 4, steps=20) == Length(5, 4, 8)
    assert length(512, 4, steps=21) == Length(5, 4, 8)
    assert length(512, 4, steps=3) == Length(1, 3, 8)
    assert length(20, 4, steps=20) == Length(5, 4, 1)
    assert length(512, steps=100).intervals == 10
    assert length(512, 4, steps=20).epochs == 2.5
    assert length(6400, 4, steps=20).epochs == 0.2


@settings(deadline=None)
@given(steps=some.integers(1, 100_000), intervals=some.integers(1, 100))
def test_where_nothing_is_compared_the_steps_stay_about_as_many(steps: int, intervals: int) -> None:
    training = TrainingConfig(batch_size=64, steps=steps)

    length = training_length(training, 512, intervals, compared=False)

    assert 1 <= length.intervals <= intervals
    # A retraining of 150 steps in a hundred intervals has neither 100 nor 200 steps.
    assert abs(length.steps * length.intervals - steps) <= length.steps / 2 <= steps


def test_there_is_a_row_and_a_report_for_each_interval(run: Run, candidate: Make) -> None:
    reports: list[ValidationReport] = []
    progress: list[tuple[float, float]] = []

    result = run(
        candidate(steps=20),
        reports_per_epoch=2,  # has no effect on a training in steps
        listener=Listening(
            on_report=reports.append,
            on_progress=lambda epoch, epochs, metrics: progress.append((epoch, epochs)),
        ),
    )

    passes = [0.625, 1.25, 1.875, 2.5]
    assert [row["step"] for row in result.history] == [5, 10, 15, 20]
    assert [row["epoch"] for row in result.history] == passes
    assert [(report.step, report.epoch) for report in reports] == list(enumerate(passes, start=1))
    assert all(report.metrics["val_accuracy"] >= 0 for report in reports)
    assert progress[-1] == (2.5, 2.5)
    assert result.epochs_trained == result.best["epoch"] == 2.5
    assert result.history[-1]["learning_rate"] < 0.001  # the schedule spans these steps


def test_steps_train_what_as_many_epochs_do(run: Run, candidate: Make) -> None:
    in_epochs = run(candidate(epochs=2, **VARIED))
    in_steps = run(candidate(steps=16, epochs=9, **VARIED), intervals=2)

    _assert_equal(in_epochs, in_steps)
    assert in_steps.history[-1]["val_accuracy"] == in_epochs.history[-1]["val_accuracy"]


def test_the_images_do_not_depend_on_how_often_the_training_is_looked_at(
    run: Run, candidate: Make
) -> None:
    _assert_equal(*(run(candidate(steps=12), intervals=intervals) for intervals in (2, 6)))


@pytest.mark.usefixtures("saved_at_once")
@pytest.mark.parametrize("interruptions", [[1], [3], [1, 2, 3]], ids=str)
def test_an_interruption_in_the_middle_of_an_epoch_changes_nothing(
    interruptions: list[int], run: Run, candidate: Make, tmp_path: Path
) -> None:
    made = candidate(steps=20, **VARIED)
    expected: list[ValidationReport] = []
    whole = run(made, listener=Listening(on_report=expected.append))

    for step in interruptions:

        def interrupt(report: ValidationReport, step: int = step) -> None:
            if report.step == step:
                raise _Interruption

        with pytest.raises(_Interruption):
            run(made, checkpoint_directory=tmp_path, listener=Listening(on_report=interrupt))
    reports: list[ValidationReport] = []
    resumed = run(made, checkpoint_directory=tmp_path, listener=Listening(on_report=reports.append))

    _assert_equal(resumed, whole)
    assert _curve(resumed) == _curve(whole)
    assert reports == expected


def test_seconds_become_steps_and_leave_the_start_as_it_was(run: Run, candidate: Make) -> None:
    told: list[Any] = []

    timed = run(
        candidate(**VARIED),
        seconds=lambda: 0.4,
        most_steps=40,
        listener=Listening(on_length=lambda timed: told.append(timed.training.steps)),
    )

    assert timed.candidate.training.steps == told[0]
    assert len(told) == 1 and 4 <= told[0] <= 40
    given = run(candidate(steps=told[0], **VARIED))
    _assert_equal(timed, given)
    assert _curve(timed) == _curve(given)


def test_more_time_is_more_steps(run: Run, candidate: Make) -> None:
    told: list[Any] = []

    for seconds in (0.05, 2.0):
        with pytest.raises(_Interruption):
            run(candidate(), seconds=lambda: seconds, listener=Listening(on_length=_stopping(told)))  # noqa: B023

    assert told[1] > 4 * told[0]


def _stopping(told: list[Any]) -> Callable[[Candidate], None]:
    def stop(timed: Candidate) -> None:
        told.append(timed.training.steps)
        raise _Interruption

    return stop


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [(1e6, 8, 8), (1e6, 2, 2), (0.0, None, 4), (0.0, 3, 3)],
    ids=["capped", "capped below the intervals", "one an interval", "no fewer than asked for"],
)
def test_the_most_steps_cap_what_the_time_allows(
    seconds: float, most: int | None, expected: int, run: Run, candidate: Make
) -> None:
    told: list[Any] = []

    result = run(
        candidate(),
        seconds=lambda: seconds,
        most_steps=most,
        listener=Listening(on_length=lambda timed: told.append(timed.training.steps)),
    )

    assert told == [expected] == [result.history[-1]["step"]]


def test_what_is_not_compared_takes_no_more_steps_than_it_has_time_for(
    run: Run, candidate: Make
) -> None:
    result = run(candidate(), seconds=lambda: 0.0, validation=None)

    assert [row["step"] for row in result.history] == [1]


def test_a_candidate_that_has_steps_is_not_timed(run: Run, candidate: Make) -> None:
    def refuse(*_: object) -> float:
        raise AssertionError

    result = run(
        candidate(steps=4), seconds=refuse, listener=Listening(on_length=refuse), most_steps=2
    )

    assert result.history[-1]["step"] == 4


def test_a_timed_training_goes_on_with_the_steps_that_it_told(
    run: Run, candidate: Make, tmp_path: Path
) -> None:
    told: list[Any] = []

    def interrupt(report: ValidationReport) -> None:
        raise _Interruption

    with pytest.raises(_Interruption):
        run(
            candidate(),
            seconds=lambda: 0.2,
            most_steps=40,
            listener=Listening(
                on_length=lambda timed: told.append(timed.training.steps), on_report=interrupt
            ),
            checkpoint_directory=tmp_path,
        )
    made = candidate(steps=told[0])
    rows: list[float] = []
    resumed = run(
        made,
        checkpoint_directory=tmp_path,
        seconds=lambda: 0.2,
        listener=Listening(on_progress=lambda epoch, epochs, metrics: rows.append(epoch)),
    )

    assert min(rows) > resumed.history[0]["epoch"]  # the first interval was not trained again
    _assert_equal(resumed, run(made))


def test_checkpoints_are_bounded_by_time_but_the_first_and_the_last(
    run: Run, candidate: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    write = Checkpoint.write

    def writing(checkpoint: Checkpoint, state: dict[str, Any], arrays: Any) -> None:
        saved.append(len(state["rows"]))
        write(checkpoint, state, arrays)

    monkeypatch.setattr(Checkpoint, "write", writing)
    run(candidate(steps=10), intervals=10, checkpoint_directory=tmp_path)

    assert (saved[0], saved[-1]) == (1, 10)
    assert len(saved) < 5


def test_mirrored_images_are_looked_at_where_training_does_not_flip(
    run: Run, candidate: Make
) -> None:
    flipped = Augmentation(horizontal_flip=True)

    plain = run(candidate(steps=24), mirrored=True)

    assert plain.mirrored is not None
    assert plain.mirrored.plain == pytest.approx(plain.history[-1]["val_accuracy"])
    assert plain.mirrored.harmless is False  # digits
    assert run(candidate(steps=4, augmentation=flipped), mirrored=True).mirrored is None
    assert run(candidate(steps=4), mirrored=True, validation=None).mirrored is None
    assert run(candidate(steps=4)).mirrored is None
