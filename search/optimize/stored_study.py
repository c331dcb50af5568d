"""Creates or loads a study in the storage, with the attributes stored alongside its trials."""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from pydantic import TypeAdapter, ValidationError

from cnn_blocks.config import AnyBackbone
from cnn_blocks.errors import UserError
from search.data.image_fit import FORMER_FIT, Fit
from search.optimize.fingerprint import identify, remember_or_refuse
from search.optimize.warm_start import enqueue_once, enqueue_recipes
from search.progress.events import Progress
from search.sizing.time_plan import TimePlan
from search.storage.attributes import StudyAttribute, set_study_attribute, study_attributes
from search.training.class_weighting import choose_class_weights
from search.training.metrics import DIRECTIONS
from search.training.mirroring import find_flip_parameters
from search.trials.experiment import Experiment
from studies.study import StudySpec

if TYPE_CHECKING:
    from search.data import Split

_STEP_UNIT = re.compile(r"1/(\d+) epoch")
# Draws per strategy; few, because a space may be slow.
_FLIP_DRAWS = 4


def store_study(
    experiment: Experiment,
    split: "Split",
    storage: optuna.storages.BaseStorage,
    *,
    warm_start: Literal["recipes"] | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> optuna.Study:
    """Creates or loads the stored study; raises UserError if its identity differs.

    The first start stores its time plan with the study, every start the command line, if one runs
    it. The indices of each role's images are written to a file next to the checkpoints folder.
    """
    spec, plan = experiment.study.load(), experiment.plan
    metric, seed = experiment.metric, experiment.seed
    identity = identify(spec, split, plan, metric=metric, seed=seed)
    study = optuna.create_study(
        storage=storage,
        study_name=experiment.study_name,
        direction=DIRECTIONS[metric],
        load_if_exists=True,
    )
    if spec.class_weights not in (None, "auto") and not study.user_attrs:
        # Before the identity, whose space fingerprint covers the class weights.
        study.set_user_attr(StudyAttribute.CLASS_WEIGHTS, spec.class_weights)
    remember_or_refuse(study, identity)
    # Right away: a command that joins the study looks for a plan before it makes its own.
    _describe(study, {StudyAttribute.TIME_PLAN: plan.model_dump_json(exclude_none=True)})
    if warm_start == "recipes":
        enqueue_recipes(study, spec, progress or Progress())
    for parameters in spec.first_trials(plan.task):
        enqueue_once(study, parameters)
    named = [f"validation {metric}"]
    if study.metric_names != named:
        with warnings.catch_warnings():
            # Naming the metric is experimental in Optuna; the dashboard shows the name.
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(named)
    described: dict[str, Any] = {
        StudyAttribute.STUDY: spec.name,
        StudyAttribute.DESCRIPTION: spec.description,
        StudyAttribute.SOURCE: experiment.study.source,
        StudyAttribute.DATA: str(split.dataset.source),
        StudyAttribute.CLASS_NAMES: list(split.dataset.class_names),
        StudyAttribute.RETRAIN_EPOCHS: spec.retrain_epochs,
        StudyAttribute.BACKBONES: [item.model_dump(mode="json") for item in spec.backbones],
    }
    if command is not None:
        described[StudyAttribute.COMMAND] = command
    if StudyAttribute.FLIP_PARAMETERS not in study_attributes(storage, study._study_id):
        # Probes the space; the result is valid as long as the space's fingerprint is.
        described[StudyAttribute.FLIP_PARAMETERS] = find_flip_parameters(
            lambda trial: spec.candidate(trial, plan.task), draws=min(_FLIP_DRAWS, spec.probes)
        )
    _describe(study, described)
    indices = experiment.checkpoints.with_name("split.npz")
    if not indices.exists():
        split.save_indices(indices)
    _describe(study, {StudyAttribute.INDICES: str(indices)})
    return study


def _describe(study: optuna.Study, described: Mapping[str, Any]) -> None:
    """Stores attributes of a study; writes only those that change."""
    stored = study_attributes(study._storage, study._study_id)
    for attribute, value in described.items():
        if stored.get(attribute) != value:
            set_study_attribute(study._storage, study._study_id, attribute, value)


def stored_plan(storage: optuna.storages.BaseStorage, name: str) -> TimePlan | None:
    """Returns the time plan of a stored study; None if there is no such study or no plan.

    Raises UserError for a plan that this version cannot read.
    """
    found = _stored_attributes(storage, name).get(StudyAttribute.TIME_PLAN)
    if found is None:
        return None
    try:
        return TimePlan.model_validate_json(found)
    except ValidationError as error:
        raise UserError(
            f"A stored time plan must be readable by this version; the plan of {name!r} is not: "
            f"{error.errors()[0]['msg']}. Fix: use the version that started the study, or start a "
            f"new study with --study-name NEW."
        ) from error


def stored_fit(storage: optuna.storages.BaseStorage, name: str) -> Fit | None:
    """Returns how a stored study fits images of another shape; None if there is no such study."""
    attributes = _stored_attributes(storage, name)
    if "data_fingerprint" not in attributes:
        return None
    fit: Fit = attributes.get("fit", FORMER_FIT)
    return fit


def as_begun(spec: StudySpec, storage: optuna.storages.BaseStorage, name: str) -> StudySpec:
    """Returns a study with the settings that a stored study of that name was started with.

    A study from an earlier version that measured lengths only in epochs keeps its epochs.
    Pretrained networks that were selected by availability stay the same.
    """
    stored = _stored_attributes(storage, name)
    if spec.takes_backbones and not spec.backbones and stored.get(StudyAttribute.BACKBONES):
        found = TypeAdapter(tuple[AnyBackbone, ...]).validate_python(
            stored[StudyAttribute.BACKBONES]
        )
        spec = spec.model_copy(update={"backbones": found})
    if spec.epochs is not None or stored.get("epochs") is None:
        return spec
    unit = _STEP_UNIT.fullmatch(str(stored.get("step_unit")))
    return spec.model_copy(
        update={
            "epochs": stored["epochs"],
            "reports_per_epoch": int(unit[1]) if unit else 1,
            "retrain_epochs": spec.retrain_epochs or stored.get(StudyAttribute.RETRAIN_EPOCHS),
        }
    )


def with_class_weights(
    spec: StudySpec,
    split: "Split",
    storage: optuna.storages.BaseStorage,
    name: str,
    *,
    metric: str,
    progress: Progress,
) -> StudySpec:
    """Returns a study with the class weights it was started with, or chooses those of a new study.

    If a version without class weights started the study, its space decides them.
    Raises UserError if the requested class weights differ from those the study was started with.
    """
    stored = _stored_attributes(storage, name)
    asked = spec.class_weights
    if StudyAttribute.CLASS_WEIGHTS not in stored and "space_fingerprint" not in stored:
        counts = split.train.class_counts(split.spec.classes)
        found, reason = choose_class_weights(asked, metric=metric, counts=counts)
        if reason:
            progress.note(reason)
        return spec.model_copy(update={"class_weights": found})
    begun = stored.get(StudyAttribute.CLASS_WEIGHTS)
    if asked not in (None, "auto", begun):
        kept = "those of its space" if begun is None else begun
        raise UserError(
            f"A study keeps its class weights; {name!r} was started with {kept}, received "
            f"--class-weights {asked}. Fix: leave the option out, or start a new study with "
            f"--study-name NEW."
        )
    return spec.model_copy(update={"class_weights": begun})


def _stored_attributes(storage: optuna.storages.BaseStorage, name: str) -> dict[str, Any]:
    try:
        return study_attributes(storage, storage.get_study_id_from_name(name))
    except KeyError:
        return {}


def phase_seconds(study: optuna.Study) -> dict[str, float]:
    """Returns the seconds that earlier starts spent in each phase of the run."""
    found: dict[str, float] = study.user_attrs.get(StudyAttribute.PHASE_SECONDS, {})
    return dict(found)


def searched_seconds(study: optuna.Study) -> float:
    """Returns the seconds that earlier starts spent searching."""
    return float(study.user_attrs.get(StudyAttribute.SEARCH_SECONDS, 0.0))


def remember_phase(study: optuna.Study, phase: str, seconds: float) -> None:
    """Adds seconds to the stored time of a phase."""
    spent = phase_seconds(study)
    spent[phase] = round(spent.get(phase, 0.0) + seconds, 3)
    study.set_user_attr(StudyAttribute.PHASE_SECONDS, spent)


def openings_of(study: optuna.Study) -> list[dict[str, Any]]:
    """Returns the recorded openings of a study's test images, oldest first."""
    return list(study.user_attrs.get(StudyAttribute.TEST_OPENINGS, []))


def opening_recorder(study: optuna.Study) -> Callable[[dict[str, Any]], None]:
    """Returns a function that stores an opening of the test images with the study."""

    def record(opening: dict[str, Any]) -> None:
        study.set_user_attr(StudyAttribute.TEST_OPENINGS, [*openings_of(study), opening])

    return record
