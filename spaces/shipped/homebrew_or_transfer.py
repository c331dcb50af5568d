"""Two families in one conditional space: a custom network, or a pretrained one."""

from collections.abc import Sequence

from cnn_blocks.pretrained import Pretrained
from spaces.backbones import DEFAULT_BACKBONES
from spaces.candidate import Candidate
from spaces.shipped.depth_filters import depth_filters
from spaces.shipped.fine_tune import fine_tune
from spaces.suggest import Prefixed, Trial
from spaces.task import Task


def homebrew_or_transfer(
    trial: Trial, *, backbones: Sequence[Pretrained] = DEFAULT_BACKBONES, task: Task = Task()
) -> Candidate:
    """Suggests the family, then a candidate as `depth_filters` or `fine_tune` does."""
    if trial.suggest_categorical("family", ["homebrew", "transfer"]) == "homebrew":
        return depth_filters(Prefixed(trial, "homebrew_"), task=task)
    return fine_tune(Prefixed(trial, "transfer_"), backbones=backbones, task=task)
