"""The gate: what counts as agreeing with Keras."""

import numpy as np
import pytest

from search.exports.gate import Comparison, compare, latency, predict_all

GOOD = {
    "images": 256,
    "largest_difference": 1e-6,
    "agreeing_labels": 256,
    "accuracy": 0.9,
    "keras_accuracy": 0.9,
}


@pytest.mark.parametrize(
    ("changes", "is_exact", "part"),
    [
        ({}, True, None),
        ({"largest_difference": 1e-4}, True, None),
        ({"largest_difference": 1.1e-4}, True, "differ from those of Keras by 1.1e-04"),
        ({"agreeing_labels": 255}, True, "255 of 256"),
        ({"largest_difference": float("nan")}, True, "not numbers"),
        ({"largest_difference": float("nan")}, False, "not numbers"),
        # Reduced precision is judged by accuracy alone.
        ({"largest_difference": 0.3, "agreeing_labels": 250}, False, None),
        ({"accuracy": 0.8901}, False, None),
        ({"accuracy": 0.8899}, False, "accuracy is 89.0%, that of Keras 90.0%"),
        ({"accuracy": 0.95}, False, None),
    ],
)
def test_the_objection_follows_the_limits(
    changes: dict[str, float], is_exact: bool, part: str | None
) -> None:
    objection = Comparison(**{**GOOD, **changes}).objection(is_exact=is_exact)  # type: ignore[arg-type]

    assert (objection is None) if part is None else (part in str(objection))


def test_a_comparison_counts_labels_and_takes_the_largest_difference() -> None:
    reference = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]], dtype=np.float32)
    outputs = np.array([[0.7, 0.3], [0.55, 0.45], [0.9, 0.1]], dtype=np.float32)

    found = compare(outputs, reference, np.array([0, 1, 1]))

    assert (found.images, found.agreeing_labels) == (3, 2)
    assert found.largest_difference == pytest.approx(0.15)
    assert (found.accuracy, found.keras_accuracy) == pytest.approx((1 / 3, 2 / 3))


def test_outputs_of_another_shape_are_no_comparison() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        compare(np.zeros((3, 4), np.float32), np.zeros((3, 2), np.float32), np.zeros(3, np.int64))


@pytest.mark.parametrize(("images", "batches"), [(1, [1]), (33, [1, 32]), (70, [1, 32, 32, 5])])
def test_the_first_batch_is_one_image(images: int, batches: list[int]) -> None:
    seen: list[int] = []

    def predict(batch: np.ndarray) -> np.ndarray:
        seen.append(len(batch))
        return batch[:, 0, 0, :]

    pixels = np.arange(images * 3, dtype=np.uint8).reshape(images, 1, 1, 3)

    assert (predict_all(predict, pixels) == pixels[:, 0, 0, :]).all()
    assert seen == batches


def test_a_latency_is_the_median_in_milliseconds_without_the_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    durations = iter([5.0, 0.2, 0.3, 0.9, 0.1, 0.2])

    def predict(batch: np.ndarray) -> np.ndarray:
        nonlocal now
        now += next(durations)
        return batch

    monkeypatch.setattr("search.exports.gate.time.perf_counter", lambda: now)

    assert latency(predict, np.zeros((1, 1, 1, 3), np.uint8)) == pytest.approx(200.0)
