"""Batches as a function of (seed, epoch)."""

from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from search.data import Subset
from search.sizing.cache import backend_name
from search.training.batches import as_input, steps_per_epoch, training_batches
from search.training.features.source import FeatureSubset


@pytest.fixture
def subset() -> Subset:
    """Eleven of twenty images; each image's pixels and label are its number."""
    numbers = np.arange(20)
    images = np.broadcast_to(numbers[:, None, None, None], (20, 2, 2, 3)).astype(np.uint8)
    return Subset(images, numbers.astype(np.int64), np.arange(3, 14).astype(np.int64))


def _labels(subset: Subset, batches: int, **options: Any) -> npt.NDArray[np.int64]:
    drawn = islice(training_batches(subset, **options), batches)
    return np.stack([inputs["labels"].astype(np.int64) for (inputs,) in drawn])


def test_an_epoch_has_full_batches_of_different_members(subset: Subset) -> None:
    assert steps_per_epoch(len(subset), 4) == 2
    labels = _labels(subset, 2, batch_size=4, seed=0, first_step=0)

    assert labels.shape == (2, 4)
    assert len(set(labels.ravel())) == 8
    assert set(labels.ravel()) <= set(subset.indices)


def test_images_and_labels_stay_together(subset: Subset) -> None:
    (inputs,) = next(training_batches(subset, batch_size=11, seed=0, first_step=0))

    assert inputs["images"].dtype == np.uint8
    assert (inputs["images"][:, 0, 0, 0] == inputs["labels"]).all()


def test_every_epoch_has_an_order_of_its_own_that_a_later_start_repeats(subset: Subset) -> None:
    three = _labels(subset, 6, batch_size=4, seed=0, first_step=0).reshape(3, 8)
    third = _labels(subset, 2, batch_size=4, seed=0, first_step=4).ravel()
    other = _labels(subset, 2, batch_size=4, seed=1, first_step=0).ravel()

    within = _labels(subset, 3, batch_size=4, seed=0, first_step=3)

    assert (three[2] == third).all()
    assert (within.reshape(3, 4) == three.reshape(6, 4)[3:]).all()
    assert not (three[0] == three[1]).all()
    assert not (three[0] == other).all()


def test_everybody_takes_part_in_the_long_run(subset: Subset) -> None:
    labels = _labels(subset, 40, batch_size=4, seed=0, first_step=0)

    assert set(labels.ravel()) == set(subset.indices)


def test_a_small_share_is_one_batch(subset: Subset) -> None:
    assert steps_per_epoch(len(subset), 64) == 1
    assert _labels(subset, 2, batch_size=64, seed=0, first_step=0).shape == (2, 11)


def test_an_epoch_has_each_image_once_in_any_of_its_views() -> None:
    numbers = np.arange(40).astype(np.int64)
    arrays = tuple(np.stack([numbers, np.full(40, view)], 1).astype(np.float16) for view in (0, 1))
    subset = FeatureSubset(arrays, numbers, numbers)

    def epoch(number: int) -> npt.NDArray[Any]:
        (inputs,) = next(training_batches(subset, batch_size=40, seed=0, first_step=number))
        np.testing.assert_array_equal(inputs["images"][:, 0], inputs["labels"])
        return inputs["images"][np.argsort(inputs["labels"])]

    np.testing.assert_array_equal(epoch(0)[:, 0], numbers)
    assert 8 < epoch(0)[:, 1].sum() < 32
    assert (epoch(0) != epoch(1)).any()
    np.testing.assert_array_equal(epoch(1), epoch(1))


@pytest.mark.skipif(backend_name() != "tensorflow", reason="looks at TensorFlow's data set")
def test_tensorflows_data_set_has_the_same_batches_and_is_not_tuned(subset: Subset) -> None:
    options: dict[str, Any] = {"batch_size": 4, "seed": 0, "first_step": 2}

    dataset = as_input(training_batches(subset, **options))

    assert not dataset.options().autotune.enabled
    expected = list(islice(training_batches(subset, **options), 5))
    for (ours,), (theirs,) in zip(dataset.take(5).as_numpy_iterator(), expected, strict=True):
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array)
            assert ours[name].dtype == array.dtype
