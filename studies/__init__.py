"""Experiments: a space, its data, metric, sampler, pruner and budget, one file per study.

The names in `__all__` are public: `StudySpec`, and the public names of `spaces`, because a study
and its space usually share a file. Everything else in this package may change without notice.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import spaces

if TYPE_CHECKING:
    from spaces import (
        DEFAULT_BACKBONES,
        Candidate,
        FineTuning,
        Prefixed,
        Task,
        TrainingConfig,
        Trial,
        growing_filters,
        input_size,
        most_images_a_batch,
        most_reductions,
        pixels_at_32,
        reductions,
        reference_batch_size,
        reference_learning_rate,
        reference_model,
        reference_passes,
        reference_training,
        reference_width,
        scheduled_dropout,
        staged,
        suggest_augmentation,
        suggest_backbone,
        suggest_component,
        suggest_filters,
        suggest_head,
        suggest_strong_augmentation,
        with_stem,
    )
    from studies.study import StudySpec

__all__ = [
    "DEFAULT_BACKBONES",
    "Candidate",
    "FineTuning",
    "Prefixed",
    "StudySpec",
    "Task",
    "TrainingConfig",
    "Trial",
    "growing_filters",
    "input_size",
    "most_images_a_batch",
    "most_reductions",
    "pixels_at_32",
    "reductions",
    "reference_batch_size",
    "reference_learning_rate",
    "reference_model",
    "reference_passes",
    "reference_training",
    "reference_width",
    "scheduled_dropout",
    "staged",
    "suggest_augmentation",
    "suggest_backbone",
    "suggest_component",
    "suggest_filters",
    "suggest_head",
    "suggest_strong_augmentation",
    "with_stem",
]

# Older study files import shipped studies as `studies.NAME`.
__path__.append(str(Path(__file__).parent / "shipped"))


def __getattr__(name: str) -> Any:
    # These import Optuna; see `spaces`.
    if name == "StudySpec":
        from studies.study import StudySpec

        return StudySpec
    if name in __all__:
        return getattr(spaces, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
