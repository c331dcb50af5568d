"""A storage that outlives a restart of its server."""

import copy
import logging
import random
import time
import uuid
import weakref
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.connections import ConnectionLostError, lost_connection

PATIENCE_SECONDS = 120.0
# A quick restart is nobody's concern.
_QUIET_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_STUDY_NAME_PREFIX = "no-name-"
# The system attribute by which a trial that was created without a reply is recognised.
CREATION = "creation"

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class RetryingStorage(BaseStorage):
    """Delegates to a storage, and repeats what failed because its server could not be reached.

    For `patience_seconds` since the first failure of an operation, with growing pauses; then
    StorageInternalError. An operation whose reply was lost may have taken place, so a repetition
    looks first: the comments say what makes each of them safe. `storage` is one with Optuna's own
    cache of trials, which stays in use; `reopen` opens it again in the process that unpickles this.
    """

    def __init__(
        self,
        storage: BaseStorage,
        *,
        reopen: Callable[[], BaseStorage],
        close: Callable[[], None],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.wrapped = storage
        self._reopen = reopen
        self._patience_seconds = patience_seconds
        # Drivers complain of connections that nobody closed.
        weakref.finalize(self, close)

    def __reduce__(self) -> tuple[Callable[[], BaseStorage], tuple[()]]:
        return self._reopen, ()

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Creates a study; under a generated name if none is given."""
        # A named one that was created without a reply is reported as a duplicate, which
        # load_if_exists answers: no attribute says whose it is.
        if study_name is not None:
            return self._repeat(lambda: self.wrapped.create_new_study(directions, study_name))
        name = f"{_STUDY_NAME_PREFIX}{uuid.uuid4()}"

        def look_first() -> int:
            try:
                return self.wrapped.get_study_id_from_name(name)
            except KeyError:
                return self.wrapped.create_new_study(directions, name)

        return self._repeat(lambda: self.wrapped.create_new_study(directions, name), look_first)

    def delete_study(self, study_id: int) -> None:
        """Deletes a study."""

        def look_first() -> None:
            try:
                self.wrapped.delete_study(study_id)
            except KeyError:
                _log.debug("The study was deleted although the reply was lost.")

        self._repeat(lambda: self.wrapped.delete_study(study_id), look_first)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a study."""
        self._repeat(lambda: self.wrapped.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a study."""
        self._repeat(lambda: self.wrapped.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """Returns a study's id; KeyError for an unknown name."""
        return self._repeat(lambda: self.wrapped.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """Returns a study's name; KeyError for an unknown id."""
        return self._repeat(lambda: self.wrapped.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Returns the directions of a study's objectives."""
        return self._repeat(lambda: self.wrapped.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns the attributes of a study."""
        return self._repeat(lambda: self.wrapped.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns the attributes of a study."""
        return self._repeat(lambda: self.wrapped.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """Returns all studies."""
        return self._repeat(self.wrapped.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Creates one trial, and returns its id."""
        if template_trial is not None and template_trial.state.is_finished():
            # Copies of studies are compared with their originals, so that nothing may be added to
            # recognise it by; a copy that fails begins again.
            return self._once(lambda: self.wrapped.create_new_trial(study_id, template_trial))
        template, creation = _recognisable(template_trial)

        def look_first() -> int:
            for trial in reversed(self.wrapped.get_all_trials(study_id, deepcopy=False)):
                if trial.system_attrs.get(CREATION) == creation:
                    return trial._trial_id
            return self.wrapped.create_new_trial(study_id, template)

        return self._repeat(lambda: self.wrapped.create_new_trial(study_id, template), look_first)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Stores a suggested value."""

        # A second row for the same parameter is refused by the database, and Optuna ignores that.
        def store() -> None:
            try:
                self.wrapped.set_trial_param(
                    trial_id, param_name, param_value_internal, distribution
                )
            except KeyError:
                # The cache of a server that was started after the trial does not know it yet.
                self.wrapped.get_trial(trial_id)
                for study in self.wrapped.get_all_studies():
                    self.wrapped.get_all_trials(study._study_id, deepcopy=False)
                self.wrapped.set_trial_param(
                    trial_id, param_name, param_value_internal, distribution
                )

        self._repeat(store)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Sets a trial's state; False where it was to be claimed and another process had it."""

        def change() -> bool:
            return self.wrapped.set_trial_state_values(trial_id, state, values)

        if state is TrialState.RUNNING:
            # A claim whose reply was lost counts as another's: a trial that nobody works on is
            # found by its missing lease, one that two work on would be trained twice.
            return self._repeat(change)
        if state is TrialState.WAITING:
            claimed = self.get_trial(trial_id).datetime_start
            return self._repeat(change, lambda: self._given_back(trial_id, claimed) or change())

        def look_first() -> bool:
            try:
                return change()
            except UpdateFinishedTrialError:
                # Told by this process, or by another the same: either way it is so.
                stored = self.wrapped.get_trial(trial_id)
                told = None if values is None else list(values)
                if stored.state is state and (told is None or stored.values == told):
                    return True
                raise

        return self._repeat(change, look_first)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Stores a reported value."""
        # This and the attributes below: the same value again, and one process writes to a trial.
        self._repeat(
            lambda: self.wrapped.set_trial_intermediate_value(trial_id, step, intermediate_value)
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a trial."""
        self._repeat(lambda: self.wrapped.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Stores an attribute of a trial."""
        self._repeat(lambda: self.wrapped.set_trial_system_attr(trial_id, key, value))

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Returns a trial's id; KeyError for an unknown number."""
        return self._repeat(
            lambda: self.wrapped.get_trial_id_from_study_id_trial_number(study_id, trial_number)
        )

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Returns a trial; KeyError for an unknown id."""
        return self._repeat(lambda: self.wrapped.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Returns a study's trials by number; finished ones come from this process' memory."""
        return self._repeat(lambda: self.wrapped.get_all_trials(study_id, deepcopy, states))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Returns the best complete trial; ValueError while there is none."""
        return self._repeat(lambda: self.wrapped.get_best_trial(study_id))

    def _given_back(self, trial_id: int, claimed: datetime | None) -> bool:
        """Whether a trial waits again, or was claimed by another process since it did."""
        stored = self.wrapped.get_trial(trial_id)
        return stored.state is TrialState.WAITING or stored.datetime_start != claimed

    def _once(self, operation: Callable[[], _Result]) -> _Result:
        return self._try(operation, operation, patience_seconds=0)

    def _repeat(
        self,
        operation: Callable[[], _Result],
        look_first: Callable[[], _Result] | None = None,
    ) -> _Result:
        return self._try(
            operation, look_first or operation, patience_seconds=self._patience_seconds
        )

    def _try(
        self,
        operation: Callable[[], _Result],
        again: Callable[[], _Result],
        *,
        patience_seconds: float,
    ) -> _Result:
        pause = _FIRST_PAUSE_SECONDS
        first_failure: float | None = None
        told = False
        while True:
            try:
                result = operation()
            except Exception as error:
                lost = lost_connection(error)
                if lost is None:
                    raise
                now = time.monotonic()
                first_failure = first_failure or now
                waited = now - first_failure
                if not lost.passing or waited >= patience_seconds:
                    # Who reports it shows the cause; a remote call's own error is a page long.
                    cause = ConnectionLostError(lost.reason)
                    raise StorageInternalError(f"The storage failed: {cause}") from cause
                # Workers that lost the same server must not come back all at once.
                rest = min(pause * random.uniform(0.5, 1.5), patience_seconds - waited)
                if waited + rest > _QUIET_SECONDS and not told:
                    told = True
                    _log.warning(
                        "The storage does not answer; trying again for %.0f s: %s",
                        patience_seconds - waited,
                        lost.reason,
                    )
            else:
                if told and first_failure is not None:
                    seconds = time.monotonic() - first_failure
                    _log.warning("The storage answers again, after %.1f s.", seconds)
                return result
            time.sleep(rest)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            operation = again


def _recognisable(template: FrozenTrial | None) -> tuple[FrozenTrial, str]:
    """Returns a template with a mark, so that the trial made from it can be found.

    A server's storage keeps the mark of its client, which looks for it when the reply is lost.
    """
    marked = create_trial(state=TrialState.RUNNING) if template is None else copy.copy(template)
    creation = marked.system_attrs.get(CREATION) or uuid.uuid4().hex
    marked.system_attrs = {**marked.system_attrs, CREATION: creation}
    return marked, creation
