"""Two families in one conditional space: a custom network, or a pretrained one."""

from collections.abc import Sequence

from cnn_blocks import Pretrained
from spaces import DEFAULT_BACKBONES, Candidate, Prefixed, Task, Trial
from spaces.shipped.depth_filters import depth_filters
from spaces.shipped.fine_tune import fine_tune


def homebrew_or_transfer(
    trial: Trial, *, backbones: Sequence[Pretrained] = DEFAULT_BACKBONES, task: Task = Task()
) -> Candidate:
    """Suggests the family, then a candidate as `depth_filters` or `fine_tune` does."""
    if trial.suggest_categorical("family", ["homebrew", "transfer"]) == "homebrew":
        return depth_filters(Prefixed(trial, "homebrew_"), task=task)
    return fine_tune(Prefixed(trial, "transfer_"), backbones=backbones, task=task)
