"""Where the attempts at one candidate keep their checkpoints, and when these are removed."""

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

    An attempt that left none on this machine may have kept one among the `shared` ones; and one
    may have died before it came to a checkpoint, so that an earlier attempt's is the last. An
    attempt that wakes up late writes into its own folder, and harms nobody.
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
    # A checkpoint is replaced, never written into, so that a link keeps what it points to.
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
    """Removes what a study that needs no checkpoint any more has left of them.

    It is of attempts that died for good, or woke up late. A store that fails is not asked again.
    """
    shutil.rmtree(checkpoints, ignore_errors=True)
    if shared is None:
        return
    for trial in study.get_trials(deepcopy=False):
        if _was_cut_short(trial) and not shared.remove(shared_name(study, trial)):
            return


def shared_name(study: optuna.Study, trial: FrozenTrial) -> str:
    """Returns the name of a trial's checkpoint where several machines keep theirs.

    Studies of one name in two databases may share that place: the holder's name tells them apart.
    """
    holder = lease_of(trial).get("worker", "nobody")
    return f"{study.study_name}/trial_{trial.number}_{holder}"


def remove_shared(study: optuna.Study, number: int, shared: "SharedCheckpoints") -> None:
    """Removes what a finished trial and the attempts before it have among the shared ones."""
    for attempt in _attempts(study, number):
        shared.remove(shared_name(study, attempt))


def _was_cut_short(trial: FrozenTrial) -> bool:
    crashed = TrialAttribute.CRASHES in trial.user_attrs
    return trial.state.is_finished() and (crashed or not counts(trial))


def _attempts(study: optuna.Study, number: int) -> Iterator[FrozenTrial]:
    """Yields a trial and those that it continues, the last one first."""
    trials = study.get_trials(deepcopy=False)
    attempt: int | None = number
    while attempt is not None:
        yield trials[attempt]
        attempt = trials[attempt].user_attrs.get(TrialAttribute.CONTINUES)
