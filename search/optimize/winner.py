"""The best trial of a study, as a self-contained configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from pydantic import ValidationError

from cnn_blocks.errors import UserError
from cnn_blocks.source_files import load_source
from search.data.image_fit import FORMER_FIT
from search.results.configuration_file import BestConfiguration, write_configuration
from search.sizing.time_plan import TimePlan
from search.storage import (
    StudyAttribute,
    TrialAttribute,
    default_storage,
    open_storage,
    quiet_optuna,
    without_password,
)
from search.storage.attributes import study_attributes, trial_attribute
from search.training.mirroring import flip_parameters, flips_are_harmless
from spaces.candidate import Candidate
from studies.study import StudySpec


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Returns the best complete trial; None if no trial is complete yet."""
    try:
        return study.best_trial
    except ValueError:
        return None


def best_configuration(study: optuna.Study) -> BestConfiguration:
    """Returns the winner of a study, rebuilt from stored attributes.

    Raises UserError if no trial is complete yet, or if another program made the study.
    """
    trial = best_trial(study)
    if trial is None:
        raise UserError(
            f"A study needs a complete trial to have a winner; {study.study_name!r} has none. "
            f"Fix: run it again with more --trials."
        )
    text = trial_attribute(trial, TrialAttribute.CANDIDATE)
    if text is None:
        raise UserError(
            f"A winner is rebuilt from the candidate stored with its trial; {study.study_name!r} "
            f"has none, so another program made it. Fix: name a study that `run` made."
        )
    stored = study_attributes(study._storage, study._study_id)
    candidate = _candidate(text, stored.get(StudyAttribute.SOURCE))
    candidate = _lengthened(_mirrored(candidate, trial, study), trial, stored)
    height, width = (int(size) for size in stored["image_shape"].split("x"))
    return BestConfiguration(
        study=study.study_name,
        trial=trial.number,
        metric=stored["metric"],
        value=trial.value,
        seed=stored["seed"],
        epochs=stored.get(StudyAttribute.RETRAIN_EPOCHS),
        image_size=(height, width),
        fit=stored.get("fit", FORMER_FIT),
        class_names=tuple(stored[StudyAttribute.CLASS_NAMES]),
        components=candidate.model.sources(),
        candidate=candidate,
    )


def search_curve(trial: FrozenTrial, spec: StudySpec) -> list[tuple[float, float]]:
    """Returns a trial's reports as (epochs, value), whatever unit its steps have."""
    values = sorted(trial.intermediate_values.items())
    if spec.epochs is not None or not values:
        return [(step / spec.reports_per_epoch, value) for step, value in values]
    epochs = float(trial.user_attrs.get(TrialAttribute.EPOCHS_TRAINED, 0))
    return [(epochs * step / values[-1][0], value) for step, value in values]


def mirrors(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Returns whether the winner uses mirrored images, in its final training and for predictions.

    It does if the space leaves flips open and the search found them harmless: a trial may be too
    short to gain from flips, but the final training is not. If the search found nothing about
    flips, the winner's trial decides. For a prediction the network then averages an image and its
    mirror image.
    """
    asked = [name for name in flip_parameters(study) if name in trial.params]
    if not asked:
        return False
    harmless = flips_are_harmless(study)
    return bool(trial.params[asked[0]]) if harmless is None else harmless


def export_best_configuration(
    study_name: str,
    to: str | Path,
    *,
    storage: str | None = None,
    runs_directory: str | Path = "runs",
) -> BestConfiguration:
    """Writes the best configuration of a stored study as JSON or YAML, by the suffix of `to`.

    Without `storage` the study is read from studies.db in `runs_directory`.
    """
    study = load_stored_study(study_name, storage=storage or default_storage(runs_directory))
    configuration = best_configuration(study)
    write_configuration(to, configuration)
    return configuration


def _mirrored(candidate: Candidate, trial: FrozenTrial, study: optuna.Study) -> Candidate:
    if not mirrors(study, trial):
        return candidate
    augmentation = candidate.training.augmentation.model_copy(update={"horizontal_flip": True})
    model = candidate.model.model_copy(update={"mirror": True})
    return candidate.model_copy(update={"model": model}).with_training(augmentation=augmentation)


def _lengthened(candidate: Candidate, trial: FrozenTrial, stored: Mapping[str, Any]) -> Candidate:
    """Returns a candidate with as many steps as fit into the final training at its trial's speed.

    A candidate whose length is in epochs stays as it is.
    """
    plan = TimePlan.model_validate_json(stored.get(StudyAttribute.TIME_PLAN, "{}"))
    speed = trial.user_attrs.get(TrialAttribute.IMAGES_PER_SECOND)
    if plan.retraining_seconds is None or candidate.training.steps is None or not speed:
        return candidate
    steps = round(plan.retraining_seconds * speed / candidate.training.batch_size)
    return candidate.with_length(steps=max(candidate.training.steps, steps))


def _candidate(text: str, source: str | None) -> Candidate:
    """Rebuilds a stored candidate; loads the study's file if it has user-defined blocks."""
    try:
        try:
            return Candidate.from_json(text)
        except ValidationError:
            if source is None:
                raise
            load_source(source)
            return Candidate.from_json(text)
    except ValidationError as error:
        raise UserError(
            f"A stored candidate must be one that this version can build: "
            f"{error.errors()[0]['msg']}. Fix: use the version that ran the search, or start a new "
            f"study with --study-name NEW."
        ) from error


def load_stored_study(study_name: str, storage: str) -> optuna.Study:
    """Opens a stored study by name; an unknown name raises UserError that lists the known ones."""
    opened = open_storage(storage)
    with quiet_optuna():
        names = sorted(optuna.get_all_study_names(opened))
        if study_name not in names:
            raise UserError(
                f"A stored study must be one of {', '.join(names) or '(none yet)'} in "
                f"{without_password(storage)}; received {study_name!r}. Fix: use a stored name or "
                f"another --storage."
            )
        return optuna.load_study(study_name=study_name, storage=opened)
