"""Whether flips are harmless, judged by the accuracy on mirrored validation images."""

import numpy as np
import numpy.typing as npt
import optuna
import pytest

from search.storage import quiet_optuna
from search.training.mirroring import compare, find_flip_parameters, flips_are_harmless
from spaces.candidate import Candidate
from spaces.shipped.full_cnn import full_cnn
from spaces.shipped.quickstart import quickstart
from spaces.shipped.transfer_head import transfer_head
from spaces.suggest import Prefixed, Trial

LABELS = np.repeat(np.arange(4), 50).astype(np.int64)


def wrong(*, every: int, classes: tuple[int, ...] = (0, 1, 2, 3)) -> npt.NDArray[np.int64]:
    """Predictions in which every `every`th image of some classes is wrong."""
    predictions = LABELS.copy()
    positions = np.flatnonzero(np.isin(LABELS, classes))[::every]
    predictions[positions] = (LABELS[positions] + 1) % 4
    return predictions


def test_mirrored_images_that_are_recognised_as_well_may_be_trained_on() -> None:
    found = compare(wrong(every=10), wrong(every=9), LABELS, classes=4)

    assert found.harmless is True
    assert found.plain == pytest.approx(0.9)
    assert 0.88 < found.mirrored < 0.9


def test_mirrored_images_that_look_like_others_may_not() -> None:
    assert compare(wrong(every=10), wrong(every=3), LABELS, classes=4).harmless is False


def test_one_class_that_suffers_is_enough() -> None:
    # Like two of 20 signs that mirror each other: the mean accuracy hardly shows it.
    labels = np.repeat(np.arange(20), 50).astype(np.int64)
    mirrored = labels.copy()
    mirrored[labels == 7] = np.where(np.arange(50) % 3, 7, 8)

    found = compare(labels, mirrored, labels, classes=20)

    assert found.mirrored > 0.98
    assert (found.worst_class, found.harmless) == (7, False)
    assert found.worst_loss == pytest.approx(17 / 50)


def test_a_class_of_a_few_images_says_nothing() -> None:
    labels = np.r_[LABELS, np.full(3, 4)].astype(np.int64)
    mirrored = labels.copy()
    mirrored[labels == 4] = 0

    assert compare(labels, mirrored, labels, classes=5).harmless is True


@pytest.mark.parametrize("mirrored", [0, 1])
def test_a_network_near_chance_knows_nothing(mirrored: int) -> None:
    same = np.zeros_like(LABELS)

    assert compare(same, np.full_like(LABELS, mirrored), LABELS, classes=4).harmless is None


def test_chance_is_the_share_of_the_commonest_class() -> None:
    labels = np.repeat([0, 1], [180, 20]).astype(np.int64)
    always = np.zeros_like(labels)

    found = compare(always, always, labels, classes=2)

    assert found.plain == 0.9
    assert found.harmless is None


def test_the_first_trial_that_knew_enough_decides() -> None:
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
    for found in ({"harmless": None}, None, {"harmless": False}, {"harmless": True}):
        assert flips_are_harmless(study) is (False if len(study.trials) == 3 else None)
        trial = study.ask()
        if found is not None:
            trial.set_user_attr("mirrored_images", found)
        study.tell(trial, 0.5)

    assert flips_are_harmless(study) is False


def test_what_decides_about_flips_is_found_by_the_candidates_own_field() -> None:
    def misnamed(trial: Trial) -> Candidate:
        trial.suggest_categorical("horizontal_flip", [False, True])  # changes nothing
        mirror = trial.suggest_categorical("mirror", [False, True])
        candidate = quickstart(trial)
        augmentation = candidate.training.augmentation.model_copy(
            update={"horizontal_flip": mirror}
        )
        return candidate.with_training(augmentation=augmentation)

    assert find_flip_parameters(misnamed, draws=2) == ["mirror"]
    assert find_flip_parameters(full_cnn, draws=2) == ["horizontal_flip"]
    assert find_flip_parameters(transfer_head, draws=2) == []
    found = find_flip_parameters(lambda trial: full_cnn(Prefixed(trial, "own_")), draws=2)
    assert found == ["own_horizontal_flip"]


def test_a_failed_trial_decides_nothing() -> None:
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
        trial = study.ask()
        trial.set_user_attr("mirrored_images", {"harmless": True})
        study.tell(trial, state=optuna.trial.TrialState.FAIL)

    assert flips_are_harmless(study) is None
