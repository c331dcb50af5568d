"""Our metrics equal scikit-learn's."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from search.training.metrics import (
    DIRECTIONS,
    RANKING_METRICS,
    classification_metrics,
    ranking_metrics,
)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    images=st.integers(1, 40),
    classes=st.integers(2, 8),
    sharpness=st.floats(0.1, 1.5),
)
def test_they_agree_with_scikit_learn(
    seed: int, images: int, classes: int, sharpness: float
) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    raw = np.exp(sharpness * random.normal(size=(images, classes)))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)

    found = classification_metrics(probabilities, labels)

    with warnings.catch_warnings():
        # scikit-learn warns about classes that occur only in the predictions.
        warnings.simplefilter("ignore", UserWarning)
        expected = {
            "accuracy": reference.accuracy_score(labels, predicted),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
            "macro_f1": reference.f1_score(labels, predicted, average="macro"),
            "loss": reference.log_loss(labels, probabilities, labels=np.arange(classes)),
        }
    assert set(found) == set(DIRECTIONS) - RANKING_METRICS
    assert found == pytest.approx(expected)


def test_a_certain_mistake_costs_much_but_not_infinitely_much() -> None:
    found = classification_metrics(np.array([[1.0, 0.0]]), np.array([1]))

    assert found["loss"] == pytest.approx(-np.log(1e-7))


def test_a_perfect_loss_has_no_sign() -> None:
    found = classification_metrics(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))

    assert str(found["loss"]) == "0.0"


def test_auc_averages_over_the_classes_that_occur_against_the_rest() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60)  # of four classes
    probabilities = random.dirichlet(np.ones(4), 60)
    one_by_one = [
        (
            reference.roc_auc_score(labels == number, probabilities[:, number]),
            reference.average_precision_score(labels == number, probabilities[:, number]),
        )
        for number in range(3)
    ]

    found = ranking_metrics(probabilities, labels)

    assert set(found) == RANKING_METRICS
    assert (found["auc"], found["average_precision"]) == pytest.approx(np.mean(one_by_one, axis=0))


def test_auc_of_two_classes_is_that_of_either() -> None:
    labels = np.array([0, 0, 1, 1])
    sick = np.array([0.1, 0.4, 0.35, 0.8])

    found = ranking_metrics(np.stack([1 - sick, sick], axis=1), labels)

    assert found["auc"] == pytest.approx(0.75)


@pytest.mark.parametrize(("probability", "label"), [(0.8, 0), (np.nan, 1)])
def test_auc_of_one_class_or_of_no_numbers_is_undefined(probability: float, label: int) -> None:
    found = ranking_metrics(np.array([[0.9, 0.1], [0.2, probability]]), np.array([0, label]))

    assert np.isnan([found["auc"], found["average_precision"]]).all()
