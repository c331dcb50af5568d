"""The checkpoints of the attempts at one candidate: where they are, when they are removed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from search.storage import TrialAttribute
from search.system.files import whole_file
from search.trials.lease import lease_of
from search.trials.outcomes import counts

if TYPE_CHECKING:
    from search.trials.shared_checkpoints import SharedCheckpoints

_CHECKPOINT = "checkpoint.npz"


def checkpoint_folder(
    trial: optuna.Trial, checkpoints: Path, shared: "SharedCheckpoints | None" = None
) -> Path:
    """Returns the trial's own folder, with the last checkpoint of the attempts before it.

    If an attempt left none on this machine, its `shared` one is fetched; if it died before its
    first checkpoint, the one of the attempt before counts. A suspended attempt that resumes late
    writes only to its own folder.
    """
    folder = checkpoints / f"trial_{trial.number}"
    continued = trial.user_attrs.get(TrialAttribute.CONTINUES)
    for attempt in [] if continued is None else _attempts(trial.study, continued):
        if (folder / _CHECKPOINT).exists():
            break
        earlier = checkpoints / f"trial_{attempt.number}" / _CHECKPOINT
        if earlier.exists():
            _take_over(earlier, folder)
        elif shared is not None:
            shared.pull(shared_name(trial.study, attempt), folder)
    return folder


def _take_over(earlier: Path, folder: Path) -> None:
    # Checkpoint files are replaced, never modified, so a hard link keeps its content.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(earlier, folder / _CHECKPOINT)
        except OSError:
            with whole_file(folder / _CHECKPOINT) as temporary:
                shutil.copyfile(earlier, temporary)


def remove_checkpoints(
    study: optuna.Study,
    number: int,
    checkpoints: Path,
    shared: "SharedCheckpoints | None" = None,
) -> None:
    """Removes the checkpoint folders of a finished trial and of the attempts before it."""
    for attempt in _attempts(study, number):
        shutil.rmtree(checkpoints / f"trial_{attempt.number}", ignore_errors=True)
    if shared is not None:
        remove_shared(study, number, shared)


def remove_left_checkpoints(
    study: optuna.Study, checkpoints: Path, shared: "SharedCheckpoints | None" = None
) -> None:
    """Removes the remaining checkpoints of a study that needs none any more.

    They belong to attempts that died for good or resumed late. After the first failure of the
    shared store the rest stays.
    """
    shutil.rmtree(checkpoints, ignore_errors=True)
    if shared is None:
        return
    for trial in study.get_trials(deepcopy=False):
        if _was_cut_short(trial) and not shared.remove(shared_name(study, trial)):
            return


def shared_name(study: optuna.Study, trial: FrozenTrial) -> str:
    """Returns the name of a trial's checkpoint in the store that several machines share.

    Studies with the same name in two databases may use one store; the holder's name tells their
    checkpoints apart.
    """
    holder = lease_of(trial).get("worker", "nobody")
    return f"{study.study_name}/trial_{trial.number}_{holder}"


def remove_shared(study: optuna.Study, number: int, shared: "SharedCheckpoints") -> None:
    """Removes the shared checkpoints of a finished trial and of the attempts before it."""
    for attempt in _attempts(study, number):
        shared.remove(shared_name(study, attempt))


def _was_cut_short(trial: FrozenTrial) -> bool:
    crashed = TrialAttribute.CRASHES in trial.user_attrs
    return trial.state.is_finished() and (crashed or not counts(trial))


def _attempts(study: optuna.Study, number: int) -> Iterator[FrozenTrial]:
    """Yields a trial and the trials that it continues, newest first."""
    trials = study.get_trials(deepcopy=False)
    attempt: int | None = number
    while attempt is not None:
        yield trials[attempt]
        attempt = trials[attempt].user_attrs.get(TrialAttribute.CONTINUES)
