"""Whether horizontal flips suit a data set, judged by a network's accuracy on mirrored images.

A network trained without flips recognises mirrored cats as well as the originals, but not mirrored
digits. That takes one pass over the validation images. Two trials, one with flips and one without,
would have to be long to differ by more than noise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from cnn_blocks.errors import InfeasibleError
from search.storage.attributes import StudyAttribute, TrialAttribute, study_attributes
from spaces.probe import ProbeTrial, Space, explore

# The flip parameter of studies that store no list of flip parameters.
_FLIP = "horizontal_flip"
# Accuracy above chance must keep at least this share on mirrored images.
_LEAST_KEPT = 0.9
# No class with enough images may lose more accuracy than this.
_MOST_CLASS_LOSS = 0.25
_LEAST_CLASS_IMAGES = 10
# A network near chance tells nothing about mirrored images.
_LEAST_ABOVE_CHANCE = 0.15


@dataclass(frozen=True)
class MirroredAccuracy:
    """Accuracy on the validation images and on their mirrored copies, in 0..1.

    `harmless` says whether training may use flips; None if the network is too close to chance.
    `worst_class` is the class that loses most accuracy.
    """

    plain: float
    mirrored: float
    worst_class: int
    worst_loss: float
    harmless: bool | None


def compare(
    plain: npt.NDArray[np.int64],
    mirrored: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    *,
    classes: int,
) -> MirroredAccuracy:
    """Compares predictions (N,) on images with those on their mirrored copies."""
    before, after = plain == labels, mirrored == labels
    losses = np.zeros(classes)
    for number in range(classes):
        rows = labels == number
        if rows.sum() >= _LEAST_CLASS_IMAGES:
            losses[number] = before[rows].mean() - after[rows].mean()
    worst = int(losses.argmax())
    chance = np.bincount(labels, minlength=classes).max() / len(labels)
    known = before.mean() - chance
    harmless: bool | None = None
    if known >= _LEAST_ABOVE_CHANCE:
        kept = (after.mean() - chance) / known
        harmless = bool(kept >= _LEAST_KEPT and losses[worst] <= _MOST_CLASS_LOSS)
    return MirroredAccuracy(
        plain=float(before.mean()),
        mirrored=float(after.mean()),
        worst_class=worst,
        worst_loss=float(losses[worst]),
        harmless=harmless,
    )


def find_flip_parameters(space: Space, *, draws: int) -> list[str]:
    """Returns the names of the parameters with which a space switches horizontal flips.

    The name of a parameter proves nothing, so each parameter with the choices False and True is
    inverted to see whether the candidate's `horizontal_flip` follows.
    """
    asked: set[str] = set()
    found: list[str] = []
    for probe, candidate in explore(space, draws=draws):
        for name, distribution in probe.distributions.items():
            if name in asked or not _is_flag(distribution):
                continue
            asked.add(name)
            turned = ProbeTrial(wanted={**probe.params, name: not probe.params[name]})
            try:
                other = space(turned)
            except InfeasibleError:
                continue
            flips = [item.training.augmentation.horizontal_flip for item in (candidate, other)]
            if flips == [probe.params[name], not probe.params[name]]:
                found.append(name)
    return found


def _is_flag(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, CategoricalDistribution) and all(
        isinstance(choice, bool) for choice in distribution.choices
    )


def flip_parameters(study: optuna.Study) -> list[str]:
    """Returns the names of the parameters with which a study's space switches flips."""
    stored = study_attributes(study._storage, study._study_id)
    found: list[str] = stored.get(StudyAttribute.FLIP_PARAMETERS, [_FLIP])
    return found


def flips_are_harmless(study: optuna.Study) -> bool | None:
    """Returns the verdict of the first trial far enough above chance; None without one."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    for trial in study.get_trials(deepcopy=False, states=states):
        found: dict[str, Any] | None = trial.user_attrs.get(TrialAttribute.MIRRORED)
        if found is not None and found["harmless"] is not None:
            return bool(found["harmless"])
    return None
