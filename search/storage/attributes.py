"""The names of everything that we store on studies and trials, and where it is stored.

What a person wants to see is a user attribute, which the dashboard shows. Long values and
fingerprints are system attributes, under names with a prefix: Optuna keeps its own there. Earlier
versions stored everything as user attributes, which are read as well.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


class TrialAttribute(StrEnum):
    """Attributes of a trial."""

    CANDIDATE = "candidate"
    RECIPE = "recipe"
    SUMMARY = "summary"
    OUTCOME = "outcome"
    REASON = "reason"
    WARNING = "warning"
    TRACEBACK = "traceback"
    PARAMETERS = "parameters"
    SECONDS = "seconds"
    IMAGES_PER_SECOND = "images_per_second"
    EPOCHS_TRAINED = "epochs_trained"
    BEST_EPOCH = "best_epoch"
    TRAINING_ACCURACY = "training_accuracy"
    STEPS = "steps"
    CHECKPOINT_STEP = "checkpoint_step"
    MIRRORED = "mirrored_images"
    PREDICTED_IMAGES_PER_SECOND = "predicted_images_per_second"
    CONSTRAINTS = "constraints"
    MEMORY_MIB = "estimated_memory_mib"
    LEASE = "lease"
    CONTINUES = "continues_trial"
    CRASHES = "crashes"
    SIGNAL = "signal"
    EXIT_CODE = "exit_code"
    PEAK_MEMORY_MIB = "peak_memory_mib"


class StudyAttribute(StrEnum):
    """Attributes of a study; those of its identity are named in `search.optimize.fingerprint`."""

    STUDY = "study"
    COMMAND = "command"
    DESCRIPTION = "description"
    SOURCE = "source"
    DATA = "data"
    INDICES = "split_indices"
    SEARCH_SECONDS = "search_seconds"
    TIME_PLAN = "time_plan"
    PHASE_SECONDS = "seconds_by_phase"
    TEST_OPENINGS = "test_openings"
    CLASS_NAMES = "class_names"
    RETRAIN_EPOCHS = "retrain_epochs"
    BACKBONES = "backbones"
    CLASS_WEIGHTS = "class_weights"
    FLIP_PARAMETERS = "flip_parameters"


_PREFIX = "cnn_search:"
_OUT_OF_SIGHT = frozenset(
    {
        TrialAttribute.CANDIDATE,
        TrialAttribute.LEASE,
        TrialAttribute.TRACEBACK,
        StudyAttribute.TIME_PLAN,
        StudyAttribute.INDICES,
        StudyAttribute.BACKBONES,
        StudyAttribute.FLIP_PARAMETERS,
        "space_fingerprint",
        "data_fingerprint",
        "split_sha256",
    }
)


def system_key(name: str) -> str:
    """Returns the name under which a system attribute has a value that is out of sight."""
    return f"{_PREFIX}{name}"


def study_attributes(storage: "BaseStorage", study_id: int) -> dict[str, Any]:
    """Returns all that we store on a study, by name, wherever it is stored."""
    return {
        **storage.get_study_user_attrs(study_id),
        **{
            key.removeprefix(_PREFIX): value
            for key, value in storage.get_study_system_attrs(study_id).items()
            if key.startswith(_PREFIX)
        },
    }


def set_study_attribute(storage: "BaseStorage", study_id: int, name: str, value: Any) -> None:
    """Stores a value on a study, in sight or out of sight by its name."""
    if name in _OUT_OF_SIGHT:
        storage.set_study_system_attr(study_id, system_key(name), value)
    else:
        storage.set_study_user_attr(study_id, name, value)


def trial_attribute(trial: "FrozenTrial", name: TrialAttribute, default: Any = None) -> Any:
    """Returns a value that we store on a trial, wherever it is stored."""
    return trial.system_attrs.get(system_key(name), trial.user_attrs.get(name, default))


def set_trial_attribute(
    storage: "BaseStorage", trial_id: int, name: TrialAttribute, value: Any
) -> None:
    """Stores a value on a trial, in sight or out of sight by its name."""
    if name in _OUT_OF_SIGHT:
        storage.set_trial_system_attr(trial_id, system_key(name), value)
    else:
        storage.set_trial_user_attr(trial_id, name, value)
