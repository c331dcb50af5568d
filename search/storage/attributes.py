"""The names of all attributes that we store on studies and trials."""

from enum import StrEnum


class TrialAttribute(StrEnum):
    """User attributes of a trial, as the dashboard shows them."""

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
    """User attributes of a study, as the dashboard shows them."""

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
