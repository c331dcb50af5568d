"""A study in its storage: made or found again, and what is kept with it besides its trials."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning

from search.files import whole_file
from search.fingerprint import identify, remember_or_refuse
from search.metrics import DIRECTIONS
from search.objective import TrialContext
from search.sampling import ReseedingSampler
from search.storage import StudyAttribute
from search.warm_start import enqueue_once, enqueue_recipes
from studies.study import LoadedStudy


def open_study(
    loaded: LoadedStudy,
    context: TrialContext,
    storage: optuna.storages.BaseStorage,
    *,
    name: str,
    warm_start: Literal["recipes"] | None,
) -> optuna.Study:
    """Creates or loads the stored study; a stored one with another identity is refused.

    Which images have which role is written into a file beside the checkpoints.
    """
    spec, split, metric, seed = context.spec, context.split, context.metric, context.seed
    identity = identify(spec, split, metric=metric, seed=seed)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=ReseedingSampler(spec.sampler(seed), seed=seed),
        pruner=spec.make_pruner(),
        direction=DIRECTIONS[metric],
        load_if_exists=True,
    )
    remember_or_refuse(study, identity)
    if warm_start == "recipes":
        enqueue_recipes(study, spec, context.progress)
    for parameters in spec.start:
        enqueue_once(study, parameters)
    named = [f"validation {metric}"]
    if study.metric_names != named:
        with warnings.catch_warnings():
            # Naming the metric is experimental in Optuna; the dashboard shows the name.
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(named)
    described = {
        StudyAttribute.STUDY: spec.name,
        StudyAttribute.DESCRIPTION: spec.description,
        StudyAttribute.SOURCE: loaded.source,
        StudyAttribute.DATA: str(split.dataset.source),
        StudyAttribute.CLASS_NAMES: list(split.dataset.class_names),
        StudyAttribute.RETRAIN_EPOCHS: spec.retrain_epochs,
    }
    for attribute, value in described.items():
        if study.user_attrs.get(attribute) != value:
            study.set_user_attr(attribute, value)
    indices = context.checkpoints.with_name("split.npz")
    if not indices.exists():
        with whole_file(indices) as temporary:
            split.save_indices(temporary)
    study.set_user_attr(StudyAttribute.INDICES, str(indices))
    return study


def opening_recorder(study: optuna.Study) -> Callable[[dict[str, Any]], None]:
    """Returns what stores an opening of the test images with a study."""

    def record(opening: dict[str, Any]) -> None:
        earlier = study.user_attrs.get(StudyAttribute.TEST_OPENINGS, [])
        study.set_user_attr(StudyAttribute.TEST_OPENINGS, [*earlier, opening])

    return record
