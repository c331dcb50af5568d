"""Search spaces: functions from a trial to a candidate.

The names in `__all__` are public: a space of your own is made of them and of the names of
`cnn_blocks`. Everything else in this package may change without notice. `studies` offers the same
names, so that a study's file imports from `cnn_blocks` and `studies` only.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spaces.augmenting import suggest_augmentation, suggest_strong_augmentation
    from spaces.backbones import DEFAULT_BACKBONES, suggest_backbone
    from spaces.candidate import Candidate, FineTuning, TrainingConfig
    from spaces.pooled_head import suggest_head
    from spaces.reference import (
        most_images_a_batch,
        reference_batch_size,
        reference_learning_rate,
        reference_model,
        reference_passes,
        reference_training,
        reference_width,
    )
    from spaces.sizes import input_size, most_reductions, pixels_at_32, reductions, with_stem
    from spaces.stages import growing_filters, scheduled_dropout, staged, suggest_filters
    from spaces.suggest import Prefixed, Trial
    from spaces.suggest import suggest as suggest_component
    from spaces.task import Task

__all__ = [
    "DEFAULT_BACKBONES",
    "Candidate",
    "FineTuning",
    "Prefixed",
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

_MODULES = {
    "DEFAULT_BACKBONES": "backbones",
    "Candidate": "candidate",
    "FineTuning": "candidate",
    "Prefixed": "suggest",
    "Task": "task",
    "TrainingConfig": "candidate",
    "Trial": "suggest",
    "growing_filters": "stages",
    "input_size": "sizes",
    "most_images_a_batch": "reference",
    "most_reductions": "sizes",
    "pixels_at_32": "sizes",
    "reductions": "sizes",
    "reference_batch_size": "reference",
    "reference_learning_rate": "reference",
    "reference_model": "reference",
    "reference_passes": "reference",
    "reference_training": "reference",
    "reference_width": "reference",
    "scheduled_dropout": "stages",
    "staged": "stages",
    "suggest_augmentation": "augmenting",
    "suggest_backbone": "backbones",
    "suggest_component": "suggest",
    "suggest_filters": "stages",
    "suggest_head": "pooled_head",
    "suggest_strong_augmentation": "augmenting",
    "with_stem": "sizes",
}

# The module spaces.suggest has the name that this function has inside it.
_OWN_NAMES = {"suggest_component": "suggest"}

# Older study files import shipped spaces as `spaces.NAME`.
__path__.append(str(Path(__file__).parent / "shipped"))


def __getattr__(name: str) -> Any:
    # These import Optuna; whoever lists the shipped spaces by name must not wait for it.
    if name in _MODULES:
        module = importlib.import_module(f"spaces.{_MODULES[name]}")
        return getattr(module, _OWN_NAMES.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
